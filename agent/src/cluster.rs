//! The agent at work in a cluster: the operator says what is desired, csi brings the mounts.

mod age;
mod agent;
mod dismiss;
mod hosted;
mod kept;
mod natives;
mod node;
mod peers;
mod switch;
mod table;
mod tiers;
mod withheld;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use forebay_api::node::{Host as _, LEAVES_WITHIN, NodeClient};
use forebay_api::session::{Hello, OperatorMessage, RuntimeState};
use forebay_session::{Event, Operator};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::age::Age;
use self::agent::Agent;
use self::kept::{Kept, KeptFile, KeptRuntime};
use self::natives::Natives;
use self::table::Table;
use crate::state::StateDir;
use crate::view::View;
use crate::way::Off;
use crate::{cli, control, engine, metrics};

/// Events of the session that may wait; the operator waits with the next ones.
const EVENTS: usize = 64;
/// How often a former agent's end is waited for.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT. Mounts are csi's and stay: the next agent takes them over.
pub(crate) async fn run(options: cli::Cluster) -> anyhow::Result<()> {
    let told = CancellationToken::new();
    let signalled = tokio::spawn({
        let told = told.clone();
        async move {
            let outcome = engine::wait_for_signal().await;
            told.cancel();
            outcome
        }
    });
    serve(options, told).await?;
    if signalled.is_finished() { signalled.await? } else { Ok(()) }
}

/// Until `told`.
async fn serve(options: cli::Cluster, told: CancellationToken) -> anyhow::Result<()> {
    let Some(state) = take_state(&options, &told).await? else { return Ok(()) };
    let stop = CancellationToken::new();
    // However this function ends.
    let _stopped = stop.clone().drop_guard();
    let operator = Operator { url: options.operator.clone(), ca: options.ca.clone(), token: options.token.clone() };
    let hello = Hello { version: env!("CARGO_PKG_VERSION").into(), pod_name: options.pod_name.clone() };
    let (send, mut events) = mpsc::channel(EVENTS);
    let net = peers::net(&options.runtime, &options.node_name, options.peer_bandwidth);
    // Before the session, which tells the others that this agent is there.
    let listener = forebay_peers::Server::bind(options.peer_addr).await;
    let listener = listener.with_context(|| format!("listen for other agents on {}; see --peer-addr", options.peer_addr))?;
    let given = Arc::new(peers::Given::default());
    let serving = tokio::spawn(listener.run(net.clone(), given.clone(), stop.clone()));
    let known_by = {
        let net = net.clone();
        move |identity: &forebay_session::Identity| peers::known_by(&net, identity)
    };
    let session = tokio::spawn(forebay_session::run(operator, hello, known_by, send, stop.clone()));
    let table = Arc::new(Table::new(options.runtime.clone(), Handle::current()));
    let csi = Arc::new(NodeClient::start(
        options.run.join(forebay_api::node::SOCKET),
        options.runtime.clone(),
        env!("CARGO_PKG_VERSION"),
        table.clone(),
    ));
    tokio::spawn(leave(told, csi.clone(), table.clone(), stop.clone()));
    table.set_natives(Natives::new(csi.backings(Handle::current()), options.run.clone()));

    let file = KeptFile::in_dir(state.path());
    let mut kept = file.load();
    let mut early = Vec::new();
    let runtime = match kept.runtime.clone() {
        Some(runtime) => runtime,
        None => match first_runtime(&mut events, &mut early, &stop).await {
            Some(runtime) => runtime,
            None => return Ok(()),
        },
    };
    kept.runtime = Some(runtime.clone());
    file.save(&kept)?;
    let tiers = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        tiers = tiers::prepare(&runtime.spec, &options, &csi) => tiers?,
    };
    // Before the cache writes into them.
    let age = Age::begin(&tiers);
    let node = Arc::new(node::Node::open(tiers, &state, options.memory, table.clone(), net.clone())?);
    table.set_cache(node.cache.clone());
    given.begin(&node);
    let view: Arc<dyn View> = node.clone();
    let control = control::serve(forebay_api::socket::path(state.path()), view.clone(), stop.clone()).await?;
    let (address, metrics) = metrics::serve(options.metrics_addr, view, stop.clone()).await?;
    info!(%address, "serving metrics and health");
    let mut agent = Agent::new(node.clone(), state, file, kept, peers::Known::new(net), Off::of(&options), age);
    agent.begin().await;
    table.started();
    let recovery = engine::recover(node.cache.clone(), stop.clone());
    agent.run(early, events, stop.clone()).await;
    info!("ending; mounts stay, and wait for the next agent");
    stop.cancel();
    let (_, _, _, _, _) = tokio::join!(session, serving, control, metrics, recovery);
    if agent.is_dismissed() {
        // Its files are closed, and no thread of its makes new ones.
        let cache = node.cache.clone();
        tokio::task::spawn_blocking(move || cache.close()).await?;
        agent.give_back(&csi).await;
    } else {
        tokio::task::spawn_blocking(move || node.cache.flush()).await?;
    }
    // At once, with everything: a server that is half gone would answer requests with errors, and what is not answered the
    // next agent asks the kernel for. csi takes the end of its connection for the end of the threads that serve mounts, so it
    // must not end sooner than they do.
    std::process::exit(0);
}

/// Once `told`, and as soon as nothing is lost by it, stops everything: whatever this agent serves it serves until csi says that it
/// stays and has the descriptors.
async fn leave(told: CancellationToken, csi: Arc<NodeClient>, table: Arc<Table>, stop: CancellationToken) {
    told.cancelled().await;
    if table.holdings().is_empty() {
        return stop.cancel();
    }
    // First: a node that shuts down may give less time than csi is waited for.
    table.flush().await;
    if tokio::time::timeout(LEAVES_WITHIN, csi.leave()).await.is_err() {
        warn!("ending without csi, which is away: pods that have files open here get errors");
    }
    stop.cancel();
}

/// Takes the state directory; while a former agent still has it, that one is served to its end.
async fn take_state(options: &cli::Cluster, stop: &CancellationToken) -> anyhow::Result<Option<StateDir>> {
    let mut told = false;
    loop {
        if let Some(state) = StateDir::try_take(&options.state)? {
            return Ok(Some(state));
        }
        if !told {
            info!(state = %options.state.display(), "waiting for the former agent to end");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// The CacheRuntime as the operator first says it; other events are put aside. `None` when the agent is to end.
async fn first_runtime(
    events: &mut mpsc::Receiver<Event>,
    early: &mut Vec<Event>,
    stop: &CancellationToken,
) -> Option<KeptRuntime> {
    info!("waiting for the operator to say what this agent's tiers are");
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return None,
            event = events.recv() => event?,
        };
        match event {
            Event::Said(OperatorMessage::Runtime(runtime)) => {
                let kept = KeptRuntime::from(&runtime);
                early.push(Event::Said(OperatorMessage::Runtime(runtime)));
                return Some(kept);
            }
            // The operator says the runtime before anything else but the beginning of the session.
            other => early.push(other),
        }
    }
}

/// Whether the tiers of two versions of a CacheRuntime differ: then the agent has to begin anew.
fn same_tiers(kept: &Kept, now: &RuntimeState) -> bool {
    kept.runtime.as_ref().is_some_and(|before| before.spec.tiers == now.spec.tiers)
}
