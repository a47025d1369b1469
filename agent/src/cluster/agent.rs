//! Brings what runs here to what is desired, and reports.

mod signs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forebay_api::DatasetName;
use forebay_api::node::NodeClient;
use forebay_api::session::{AgentMessage, DatasetProgress, DatasetState, OperatorMessage, Released, Removed};
use forebay_crds::values::HostPath;
use forebay_session::Event;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::signs::Signs;
use super::age::Age;
use super::dismiss;
use super::hosted::Hosted;
use super::kept::{Handled, Kept, KeptDataset, KeptFile, KeptRuntime};
use super::node::Node;
use super::peers::Known;
use super::withheld::Waiting;
use crate::state::StateDir;
use crate::way::Off;

/// How often it is looked whether there is something to report.
const REPORT: Duration = Duration::from_secs(1);

/// The one task that changes what the agent serves.
pub(super) struct Agent {
    node: Arc<Node>,
    state: StateDir,
    file: KeptFile,
    kept: Kept,
    /// The session under way.
    session: Option<Session>,
    /// Datasets named since the session began; `None` after all were.
    named: Option<BTreeSet<DatasetName>>,
    /// Whether this agent is to go for good.
    leaving: bool,
    /// Datasets that were deleted and made anew while mounts show the former one: what is desired once those have gone.
    anew: BTreeMap<DatasetName, DatasetState>,
    /// The other agents.
    peers: Known,
    off: Off,
    signs: Signs,
}

/// What one session has been told.
struct Session {
    send: mpsc::Sender<AgentMessage>,
    datasets: BTreeMap<String, DatasetProgress>,
}

impl Agent {
    pub(super) fn new(
        node: Arc<Node>,
        state: StateDir,
        file: KeptFile,
        kept: Kept,
        peers: Known,
        off: Off,
        age: Option<Age>,
    ) -> Self {
        let signs = Signs::new(node.clone(), age);
        Self { node, state, file, kept, session: None, named: None, leaving: false, anew: BTreeMap::new(), peers, off, signs }
    }

    /// Serves what a former agent was told to, until the operator says more.
    pub(super) async fn begin(&mut self) {
        let known: Vec<_> = self.kept.datasets.values().cloned().collect();
        if !known.is_empty() {
            info!(datasets = known.len(), "serving what was last desired, while the operator is asked");
            self.node.told();
        }
        for dataset in known {
            let hosted = Arc::new(Hosted::new(dataset.state(), dataset.handled()).without(self.off));
            self.node.table.add(hosted.clone());
            self.node.unheard.expect(&hosted.name);
            self.work(&hosted, dataset.state(), Vec::new()).await;
        }
    }

    /// Whether nothing of this agent is wanted any more: it is to go for good, and no Dataset is left.
    pub(super) fn is_dismissed(&self) -> bool {
        self.leaving && self.node.table.all().is_empty()
    }

    /// Gives the node back what this agent took; see [`dismiss::give_back`].
    pub(super) async fn give_back(&self, csi: &NodeClient) {
        if let Some(runtime) = &self.kept.runtime {
            dismiss::give_back(&runtime.spec, self.state.path(), csi).await;
        }
    }

    /// Until `stop`. `early`: events that came before the agent was made.
    pub(super) async fn run(&mut self, early: Vec<Event>, events: mpsc::Receiver<Event>, stop: CancellationToken) {
        for event in early {
            self.signs.hear(&event);
            self.take(event).await;
        }
        // Beside those that wait on the stream, so that the beginning of a session is seen while what was said before it is carried out.
        let (to, mut passed) = mpsc::channel(super::EVENTS);
        tokio::spawn(signs::pass_on(events, to, self.signs.clone()));
        let mut ticks = tokio::time::interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = passed.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => break,
                },
                _ = ticks.tick() => {
                    self.let_go().await;
                    self.report().await;
                }
            }
        }
        for hosted in self.node.table.all() {
            hosted.rest().await;
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Began(send) => {
                self.session = Some(Session { send, datasets: BTreeMap::new() });
                self.named = Some(BTreeSet::new());
            }
            Event::Said(OperatorMessage::Runtime(runtime)) => {
                if !super::same_tiers(&self.kept, &runtime) {
                    info!("the CacheRuntime's tiers have changed: they are taken up when this pod is replaced");
                }
                self.leaving = runtime.leaving;
                let allowed = self.allowed_host_paths() != runtime.spec.allowed_host_paths;
                self.kept.runtime = Some(KeptRuntime::from(&runtime));
                self.save();
                if allowed {
                    for hosted in self.node.table.all() {
                        self.rework(&hosted, hosted.desired(), Vec::new()).await;
                    }
                }
            }
            Event::Said(OperatorMessage::Dataset(desired)) => {
                if let Some(named) = &mut self.named {
                    named.insert(desired.dataset.clone());
                }
                self.desire(desired).await;
            }
            Event::Said(OperatorMessage::Removed(Removed { uid, dataset })) => match self.node.table.get(&dataset) {
                _ if self.anew.get(&dataset).is_some_and(|desired| desired.uid == uid) => {
                    self.anew.remove(&dataset);
                    self.tell(AgentMessage::Released(Released { uid, dataset })).await;
                }
                Some(hosted) if hosted.uid == uid => {
                    hosted.remove();
                    self.let_go().await;
                }
                _ => self.tell(AgentMessage::Released(Released { uid, dataset })).await,
            },
            Event::Said(OperatorMessage::Peers(change)) => self.peers.take(change),
            Event::Said(OperatorMessage::Synced) => {
                self.node.told();
                let named = self.named.take().unwrap_or_default();
                self.anew.retain(|name, _| named.contains(name));
                for hosted in self.node.table.all().into_iter().filter(|hosted| !named.contains(&hosted.name)) {
                    hosted.remove();
                }
                self.let_go().await;
            }
        }
    }

    fn allowed_host_paths(&self) -> Vec<HostPath> {
        self.kept.runtime.as_ref().map(|runtime| runtime.spec.allowed_host_paths.clone()).unwrap_or_default()
    }

    /// Brings one Dataset to what is desired.
    async fn desire(&mut self, desired: DatasetState) {
        let waiting = self.node.unheard.heard(&desired.dataset);
        match self.node.table.get(&desired.dataset) {
            Some(hosted) if hosted.uid == desired.uid => {
                hosted.stay();
                let now = hosted.desired();
                if now.spec == desired.spec && now.secrets == desired.secrets {
                    hosted.set_wishes(desired.clone());
                } else {
                    info!(dataset = %desired.dataset, "the spec or a Secret has changed");
                    self.rework(&hosted, desired.clone(), waiting).await;
                }
            }
            former => {
                // Deleted and made anew while the operator was out of hearing.
                if let Some(former) = former {
                    former.remove();
                    if !former.may_go() {
                        // Handles of the one would be taken for the other's: the same numbers, and other files.
                        warn!(dataset = %desired.dataset, "made anew while pods use the former one: it is served when they have gone");
                        self.anew.insert(desired.dataset.clone(), desired);
                        return;
                    }
                    self.forget(&former).await;
                }
                info!(dataset = %desired.dataset, "a Dataset is to be served");
                let hosted = Arc::new(Hosted::new(desired.clone(), Handled::default()).without(self.off));
                self.node.table.add(hosted.clone());
                self.work(&hosted, desired.clone(), waiting).await;
            }
        }
        self.keep(&desired);
    }

    async fn rework(&self, hosted: &Arc<Hosted>, desired: DatasetState, waiting: Vec<Waiting>) {
        hosted.rest().await;
        self.work(hosted, desired, waiting).await;
    }

    async fn work(&self, hosted: &Arc<Hosted>, desired: DatasetState, waiting: Vec<Waiting>) {
        let (node, allowed) = (self.node.clone(), self.allowed_host_paths());
        let dir = self.state.dataset(&desired.dataset.namespace, &desired.dataset.name);
        let asked = desired.clone();
        let opened = tokio::task::spawn_blocking(move || node.dataset(&asked, &allowed, dir, waiting)).await;
        let opened = opened.unwrap_or_else(|error| Err(error.into()));
        if let Err(error) = &opened {
            warn!(dataset = %desired.dataset, "cannot be served as desired: {error:#}");
        }
        hosted.work(desired, opened);
    }

    /// Lets go of the Datasets that are to go and that no mount shows any more.
    async fn let_go(&mut self) {
        for hosted in self.node.table.all().into_iter().filter(|hosted| hosted.may_go()) {
            self.forget(&hosted).await;
            self.tell(AgentMessage::Released(Released { uid: hosted.uid.clone(), dataset: hosted.name.clone() })).await;
            if let Some(desired) = self.anew.remove(&hosted.name) {
                Box::pin(self.desire(desired)).await;
            }
        }
    }

    async fn forget(&mut self, hosted: &Arc<Hosted>) {
        drop(self.node.unheard.heard(&hosted.name));
        hosted.rest().await;
        let (name, cache) = (hosted.name.to_string(), self.node.cache.clone());
        let dir = self.state.dataset(&hosted.name.namespace, &hosted.name.name);
        let freed = tokio::task::spawn_blocking(move || {
            let freed = cache.remove_dataset(&name);
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    warn!(dir = %dir.display(), %error, "catalogs stay behind")
                }
                _ => {}
            }
            freed
        });
        match freed.await {
            Ok(bytes) => info!(dataset = %hosted.name, bytes, "let go of"),
            Err(error) => error!(dataset = %hosted.name, %error, "letting go died"),
        }
        self.node.table.take(&hosted.name);
        self.kept.datasets.remove(&hosted.name.to_string());
        self.save();
    }

    fn keep(&mut self, desired: &DatasetState) {
        let handled = self.node.table.get(&desired.dataset).map(|hosted| hosted.handled()).unwrap_or_default();
        let kept = KeptDataset::of(desired, handled);
        if self.kept.datasets.get(&desired.dataset.to_string()) != Some(&kept) {
            self.kept.datasets.insert(desired.dataset.to_string(), kept);
            self.save();
        }
    }

    /// Keeps which wishes were carried out: all that changes without a word of the operator.
    fn keep_handled(&mut self) {
        let mut changed = false;
        for hosted in self.node.table.all() {
            let now = hosted.handled();
            if let Some(kept) = self.kept.datasets.get_mut(&hosted.name.to_string()).filter(|kept| kept.handled() != now) {
                (kept.refreshed, kept.evicted) = (now.refreshed, now.evicted);
                changed = true;
            }
        }
        if changed {
            self.save();
        }
    }

    fn save(&self) {
        if let Err(error) = self.file.save(&self.kept) {
            warn!("after a restart without the operator this agent serves what it did before: {error:#}");
        }
    }

    async fn tell(&mut self, message: AgentMessage) {
        if let Some(session) = &self.session
            && session.send.send(message).await.is_err()
        {
            self.session = None;
        }
    }

    /// Says what has changed of the Datasets since it was last said.
    async fn report(&mut self) {
        self.keep_handled();
        let Some(session) = &mut self.session else { return };
        let node = self.node.clone();
        let looked = tokio::task::spawn_blocking(move || {
            node.table.all().iter().map(|hosted| hosted.progress()).collect::<Vec<DatasetProgress>>()
        });
        let Ok(progress) = looked.await else { return };
        let mut messages = Vec::new();
        session.datasets.retain(|uid, _| progress.iter().any(|dataset| dataset.uid == *uid));
        for dataset in progress {
            if session.datasets.get(&dataset.uid) != Some(&dataset) {
                session.datasets.insert(dataset.uid.clone(), dataset.clone());
                messages.push(AgentMessage::Dataset(dataset));
            }
        }
        for message in messages {
            self.tell(message).await;
        }
    }
}
