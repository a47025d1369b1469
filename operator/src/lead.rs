//! What a replica does while it leads.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt as _};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::agents::Leadership;
use crate::agents::authority::Authority;
use crate::agents::news::News;
use crate::agents::publish::Published;
use crate::agents::registry::Registry;
use crate::context::{Context, Parts};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::runtime::Settings;
use crate::secrets::{self, Secrets};
use crate::stores::{Change, Stores};
use crate::{admission, ca, dataset, demand, names, runtime, scale, warm};

/// How often what agents said is turned into reconciliations, and silent ones are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Agents' reports that are merged into statuses at each of these looks, so that what merging costs does not grow with what agents
/// say: with more agents, and more Datasets that change, each status is looked at less often.
const MERGED: usize = 100_000;
/// Changes within so long are published to agents together.
const TOGETHER: Duration = Duration::from_millis(50);

/// What leading needs.
#[derive(Clone)]
pub(crate) struct Leader {
    pub(crate) client: Client,
    pub(crate) identity: String,
    pub(crate) settings: Settings,
    pub(crate) stores: Stores,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) authority: Arc<Authority>,
    /// The webhook's configuration, if there is one.
    pub(crate) webhook: Option<String>,
    pub(crate) secret_refresh: Duration,
}

/// Leads whenever `elected` says so, until it closes or `token` is cancelled. Everything of a leadership has ended when the
/// next begins, and when this returns.
pub(crate) async fn run(
    leader: Leader,
    mut elected: watch::Receiver<bool>,
    leads: watch::Sender<Option<Leadership>>,
    token: CancellationToken,
) {
    loop {
        let waited = tokio::select! {
            waited = elected.wait_for(|elected| *elected) => waited.map(drop),
            () = token.cancelled() => return,
        };
        if waited.is_err() {
            return;
        }
        let term = token.child_token();
        let work = lead(&leader, &leads, term.clone());
        tokio::pin!(work);
        tokio::select! {
            () = &mut work => {}
            _ = elected.wait_for(|elected| !*elected) => {
                // The tasks are aborted where they are: another replica may write already. Whatever was half done, it does.
            }
            () = token.cancelled() => {}
        }
        term.cancel();
        leads.send_replace(None);
        leader.metrics.leads(false);
        tracing::info!("this replica leads no more");
    }
}

async fn lead(leader: &Leader, leads: &watch::Sender<Option<Leadership>>, term: CancellationToken) {
    let Leader { client, identity, settings, stores, metrics, authority, webhook, secret_refresh } = leader;
    if !stores.filled().await {
        tracing::error!("the caches are gone");
        return;
    }
    let registry = Arc::new(Registry::default());
    let published = Arc::new(Published::default());
    let news = Arc::new(News::default());
    let secrets = Arc::new(Secrets::default());
    // Dropped, and so aborted, with this future.
    let mut tasks = JoinSet::new();
    let (send, uid) = oneshot::channel();
    let certificate = authority.certificate_pem().to_owned();
    tasks.spawn(ca::publish(client.clone(), settings.namespace.clone(), settings.ca.clone(), certificate, send, term.clone()));
    if let Some(webhook) = webhook.clone() {
        tasks.spawn(admission::bundle::keep(client.clone(), webhook, authority.certificate_pem().to_owned(), term.clone()));
    }
    let Ok(ca_uid) = uid.await else { return };
    let reporter = Reporter { controller: names::FIELD_MANAGER.to_owned(), instance: Some(identity.clone()) };
    let context = Arc::new(Context::new(Parts {
        client: client.clone(),
        settings: Settings { ca_uid, ..settings.clone() },
        stores: stores.clone(),
        registry: registry.clone(),
        published: published.clone(),
        secrets: secrets.clone(),
        events: Events::new(Recorder::new(client.clone(), reporter), metrics.clone()),
        metrics: metrics.clone(),
    }));
    let reader = Arc::new(client.clone());
    tasks.spawn(secrets::run(reader, stores.clone(), secrets.clone(), *secret_refresh, term.clone()));
    tasks.spawn(publish(stores.clone(), published.clone(), secrets));
    tasks.spawn(sweep(stores.clone(), registry.clone(), news.clone(), metrics.clone()));
    tasks.spawn(runtime::orphans(context.clone()));
    tasks.spawn(runtime::run(context.clone()));
    tasks.spawn(scale::run(context.clone()));
    tasks.spawn(warm::run(context.clone()));
    tasks.spawn(demand::run(context.clone()));
    tasks.spawn(dataset::run(context));
    metrics.leads(true);
    leads.send_replace(Some(Leadership { registry, published, news, token: term }));
    // None of them ends by itself, unless it panics.
    if let Some(ended) = tasks.join_next().await {
        tracing::error!(?ended, "a part of the leader ended, all are begun anew");
        sleep(Duration::from_secs(1)).await;
    }
}

/// Publishes to the agents what is desired of them, whenever it may have changed.
async fn publish(stores: Stores, published: Arc<Published>, secrets: Arc<Secrets>) {
    let mut changes = stores.changes();
    loop {
        published.publish(&stores.datasets.state(), &stores.runtimes.state(), |namespace, name| secrets.get(namespace, name));
        loop {
            match changes.recv().await {
                // None of these changes what is desired.
                Ok(Change::Node | Change::Agents(_) | Change::Scale(_) | Change::Progress { .. } | Change::Health(_)) => {}
                Ok(Change::All | Change::Dataset { .. } | Change::Runtime(_)) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
        sleep(TOGETHER).await;
        // What came meanwhile is in the next state.
        changes = changes.resubscribe();
    }
}

/// Turns what agents said into changes, and looks for those that say nothing.
async fn sweep(stores: Stores, registry: Arc<Registry>, news: Arc<News>, metrics: Arc<Metrics>) {
    let mut tick = interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = stores.changes();
    loop {
        tick.tick().await;
        for change in of_runtimes(&mut changes, &stores) {
            news.add(change);
        }
        let uids: HashSet<String> = stores.datasets.state().iter().filter_map(|dataset| dataset.uid()).collect();
        let lost = registry.sweep(&uids, Instant::now());
        for runtime in &lost {
            tracing::warn!(runtime, "agents do not answer any more");
        }
        let agents = registry.connected();
        let said = news.take((MERGED / agents.max(1)).max(1));
        for change in said.into_iter().chain(lost.into_iter().map(Change::Agents)) {
            stores.announce(change);
        }
        metrics.agents(agents);
    }
}

/// The Datasets whose runtime is not as it was: itself, the nodes that are to have an agent, or those whose agents answer.
fn of_runtimes(changes: &mut broadcast::Receiver<Change>, stores: &Stores) -> Vec<Change> {
    let (mut all, mut runtimes) = (false, HashSet::new());
    loop {
        match changes.try_recv() {
            Ok(Change::Runtime(runtime) | Change::Agents(runtime)) => drop(runtimes.insert(runtime)),
            Ok(_) => {}
            Err(TryRecvError::Lagged(_)) => all = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    if !all && runtimes.is_empty() {
        return Vec::new();
    }
    let datasets = stores.datasets.state();
    let concerned = datasets.iter().filter(|dataset| all || runtimes.contains(&*dataset.spec.runtime));
    concerned.filter_map(|dataset| Some(Change::Progress { namespace: dataset.namespace()?, name: dataset.name_any() })).collect()
}
