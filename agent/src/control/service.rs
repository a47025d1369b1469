use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::{DatasetName, InvalidMessage, v1};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::faults::Faults;
use crate::view::{DatasetView, View, ask};

/// `WatchStatus` at a time, over all connections.
const WATCHERS: usize = 32;
/// How often a watched status is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// Names that an error repeats.
const NAMED: usize = 10;

/// Answers requests from a view.
pub(super) struct Service {
    seen: Arc<Seen>,
    stop: CancellationToken,
    watchers: Arc<Semaphore>,
}

/// The view, and since when tiers fail.
struct Seen {
    view: Arc<dyn View>,
    faults: Faults,
}

impl Service {
    pub(super) fn new(view: Arc<dyn View>, stop: CancellationToken) -> Self {
        let seen = Arc::new(Seen { view, faults: Faults::default() });
        Self { seen, stop, watchers: Arc::new(Semaphore::new(WATCHERS)) }
    }
}

#[tonic::async_trait]
impl v1::control_server::Control for Service {
    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Result<Response<v1::GetStatusResponse>, Status> {
        let wanted = optional(request.into_inner().dataset)?;
        let datasets = self.seen.reports(wanted.as_ref()).await?;
        Ok(Response::new(v1::GetStatusResponse { datasets: messages(datasets) }))
    }

    type WatchStatusStream = Pin<Box<dyn Stream<Item = Result<v1::WatchStatusResponse, Status>> + Send>>;

    async fn watch_status(&self, request: Request<v1::WatchStatusRequest>) -> Result<Response<Self::WatchStatusStream>, Status> {
        let v1::WatchStatusRequest { dataset, interval } = request.into_inner();
        let wanted = optional(dataset)?;
        let permit =
            self.watchers.clone().try_acquire_owned().map_err(|_| {
                Status::resource_exhausted(format!("{WATCHERS} watch this agent's status already: end one of them"))
            })?;
        // A negative length of time is as good as none.
        let interval = interval.map_or(INTERVAL, |wish| Duration::try_from(wish).unwrap_or_default());
        let mut ticks = tokio::time::interval(interval.clamp(SHORTEST, LONGEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = Watch { seen: self.seen.clone(), stop: self.stop.clone(), wanted, ticks, last: None, _permit: permit };
        Ok(Response::new(Box::pin(futures::stream::try_unfold(watch, Watch::next))))
    }

    async fn refresh(&self, request: Request<v1::RefreshRequest>) -> Result<Response<v1::RefreshResponse>, Status> {
        let name = optional(request.into_inner().dataset)?;
        let name = name.ok_or_else(|| Status::invalid_argument("name the Dataset to refresh"))?;
        let full = name.to_string();
        match ask(&self.seen.view, move |view| view.refresh(&full)).await.ok_or_else(ending)? {
            true => Ok(Response::new(v1::RefreshResponse {})),
            false => Err(not_found(&name, &self.seen.all().await?)),
        }
    }
}

/// One running `WatchStatus`.
struct Watch {
    seen: Arc<Seen>,
    stop: CancellationToken,
    wanted: Option<DatasetName>,
    ticks: Interval,
    last: Option<Vec<DatasetView>>,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(v1::WatchStatusResponse, Self)>, Status> {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                _ = self.ticks.tick() => {}
            }
            let now = self.seen.reports(self.wanted.as_ref()).await?;
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Ok(Some((v1::WatchStatusResponse { datasets: messages(now) }, self)));
            }
        }
    }
}

fn optional(name: Option<v1::DatasetName>) -> Result<Option<DatasetName>, Status> {
    name.map(DatasetName::try_from)
        .transpose()
        .map_err(|error: InvalidMessage| Status::invalid_argument(format!("{}: {}", error.field(), error.problem())))
}

impl Seen {
    /// Every Dataset. A tier that cannot be used is of no use to any of them.
    async fn all(&self) -> Result<Vec<DatasetView>, Status> {
        let (mut datasets, tiers) = ask(&self.view, |view| (view.datasets(), view.health())).await.ok_or_else(ending)?;
        datasets.sort_by_key(DatasetView::full_name);
        if let Some(faulty) = self.faults.of(&tiers) {
            datasets.iter_mut().for_each(|dataset| dataset.status.conditions.push(faulty.clone()));
        }
        Ok(datasets)
    }

    async fn reports(&self, wanted: Option<&DatasetName>) -> Result<Vec<DatasetView>, Status> {
        let datasets = self.all().await?;
        let Some(wanted) = wanted else { return Ok(datasets) };
        let found = datasets.iter().find(|dataset| dataset.full_name() == *wanted).cloned();
        Ok(vec![found.ok_or_else(|| not_found(wanted, &datasets))?])
    }
}

fn messages(datasets: Vec<DatasetView>) -> Vec<v1::DatasetReport> {
    datasets.into_iter().map(Into::into).collect()
}

fn not_found(wanted: &DatasetName, served: &[DatasetView]) -> Status {
    let names: Vec<_> = served.iter().take(NAMED).map(|dataset| dataset.full_name().to_string()).collect();
    let more = served.len().saturating_sub(NAMED);
    Status::not_found(match (names.is_empty(), more) {
        (true, _) => format!("this agent does not serve a Dataset {wanted}: it serves none"),
        (false, 0) => format!("this agent does not serve a Dataset {wanted}: it serves {}", names.join(", ")),
        (false, _) => format!("this agent does not serve a Dataset {wanted}: it serves {} and {more} more", names.join(", ")),
    })
}

fn ending() -> Status {
    Status::unavailable("the agent is ending")
}
