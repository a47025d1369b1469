//! Who of the replicas leads, by a Lease.
//!
//! The rules are those of Kubernetes' own components: the Lease is written under the resourceVersion that was read, so that of
//! two writers one fails; whether another's Lease has run out is judged by when *this* process saw it change, so that clocks
//! may differ; and a leader that cannot renew in time stops before anyone else may begin.

mod rules;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use rules::{Decision, Seen, decide, held, released};

/// Names the Lease and its times.
#[derive(Debug, Clone)]
pub(crate) struct Election {
    pub(crate) name: String,
    pub(crate) identity: String,
    pub(crate) duration: Duration,
}

impl Election {
    /// A leader that could not renew for so long stops.
    fn deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// Between two tries.
    fn period(&self) -> Duration {
        self.duration / 6
    }
}

/// Works for the Lease on a thread and a connection of its own: when a thousand agents connect at once, everything else waits for its
/// turn, and a leader that waits for too long would have to stop, only for the agents to connect at once to the next.
pub(crate) fn on_a_thread<F>(config: Config, work: impl FnOnce(Client) -> F + Send + 'static) -> std::io::Result<JoinHandle<()>>
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            match Client::try_from(config) {
                Ok(client) => work(client).await,
                // What listens for who leads ends with it.
                Err(error) => tracing::error!(%error, "no connection for the lease"),
            }
        });
    }))
}

/// Tries to lead until `token` is cancelled; `leads` says whether it does. When cancelled, gives the Lease back after
/// `leads` is false and everyone who listened has let go of it (`stopped`).
pub(crate) async fn run(
    client: Client,
    namespace: String,
    election: Election,
    leads: watch::Sender<bool>,
    token: CancellationToken,
    stopped: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut seen = Seen::default();
    let mut renewed: Option<Instant> = None;
    loop {
        // A leader's time runs out from its last success; a candidate just tries.
        let limit = renewed.map_or_else(|| Instant::now() + election.deadline(), |at| at + election.deadline());
        let asked = Instant::now();
        let attempt = tokio::select! {
            attempt = timeout_at(limit, attempt(&api, &election, &mut seen)) => attempt,
            () = token.cancelled() => break,
        };
        match attempt {
            // What took half of the time leaves too little for the next renewal: as good as not renewed.
            Ok(Ok(true)) if asked.elapsed() > election.deadline() / 2 => {}
            Ok(Ok(true)) => {
                renewed = Some(asked);
                if leads.send_if_modified(|leads| !std::mem::replace(leads, true)) {
                    tracing::info!(lease = election.name, identity = election.identity, "this replica leads");
                }
            }
            Ok(Ok(false)) => {
                renewed = None;
                if leads.send_if_modified(|leads| std::mem::replace(leads, false)) {
                    tracing::warn!(lease = election.name, "another replica took the lease");
                }
            }
            Ok(Err(error)) => tracing::warn!(lease = election.name, %error, "the lease could not be read or written"),
            Err(_) => {}
        }
        if renewed.is_some_and(|at| at.elapsed() >= election.deadline()) {
            renewed = None;
            leads.send_replace(false);
            tracing::error!(lease = election.name, "the lease could not be renewed in time: this replica stops leading");
        }
        // Replicas that were started together do not ask together.
        let pause = election.period().mul_f64(0.8 + 0.4 * fastrand::f64());
        let pause = renewed.map_or(pause, |at| pause.min((at + election.deadline()).saturating_duration_since(Instant::now())));
        tokio::select! {
            () = sleep(pause) => {}
            () = token.cancelled() => break,
        }
    }
    leads.send_replace(false);
    stopped.cancelled().await;
    if renewed.is_some() {
        give_back(&api, &election).await;
    }
}

/// Whether this replica holds the Lease now.
async fn attempt(api: &Api<Lease>, election: &Election, seen: &mut Seen) -> Result<bool, kube::Error> {
    let found = api.get_opt(&election.name).await?;
    let now = Timestamp::now();
    let before = found.as_ref().and_then(|lease| lease.spec.as_ref());
    let written = match decide(&election.identity, found.as_ref(), seen, Instant::now()) {
        Decision::Wait => return Ok(false),
        Decision::Create => {
            let metadata = ObjectMeta { name: Some(election.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(held(election, before, now)) };
            api.create(&PostParams::default(), &lease).await
        }
        Decision::Take | Decision::Renew => {
            let metadata = found.as_ref().map(|lease| lease.metadata.clone()).unwrap_or_default();
            let lease = Lease { metadata, spec: Some(held(election, before, now)) };
            api.replace(&election.name, &PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(_) => Ok(true),
        // Another replica was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

async fn give_back(api: &Api<Lease>, election: &Election) {
    let give = async {
        let Some(lease) = api.get_opt(&election.name).await? else { return Ok(()) };
        let Some(spec) = lease.spec.filter(|spec| spec.holder_identity.as_deref() == Some(&election.identity)) else {
            return Ok(());
        };
        let lease = Lease { metadata: lease.metadata, spec: Some(released(spec, Timestamp::now())) };
        api.replace(&election.name, &PostParams::default(), &lease).await.map(drop)
    };
    match timeout_at(Instant::now() + election.period(), give).await {
        Ok(Ok(())) => tracing::info!(lease = election.name, "lease given back"),
        Ok(Err(error)) => tracing::warn!(lease = election.name, %error, "the lease could not be given back; it runs out"),
        Err(_) => tracing::warn!(lease = election.name, "the lease could not be given back in time; it runs out"),
    }
}
