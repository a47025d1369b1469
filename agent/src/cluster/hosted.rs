use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use forebay_api::DatasetName;
use forebay_api::node::{Holding, MountId, MountRequest, Negotiated, Reason, Refusal};
use forebay_api::session::{DatasetProgress, DatasetState};
use forebay_crds::conditions;
use forebay_crds::dataset::{Dataset as DatasetObject, DatasetStatus, Phase};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_dataset::Dataset;
use forebay_fuse::{MountOptions, OpenCounts, Served, Shared, serve_descriptor, top_names};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::kept::Handled;
use super::switch::Switch;
use crate::anew::{Anew, Uncounted};
use crate::view::DatasetView;
use crate::way::Off;
use crate::wishes;

mod compose;
mod evict;
#[cfg(test)]
mod tests;

/// One Dataset on this node: what is desired of it, the Dataset at work, the mounts that show it.
pub(crate) struct Hosted {
    pub(crate) name: DatasetName,
    pub(crate) uid: String,
    since: SystemTime,
    off: Off,
    /// A composed mount that this process hears of is one too: of what a former process published the kernel does not know yet.
    uncounted: Uncounted,
    state: Mutex<State>,
}

struct State {
    desired: DatasetState,
    /// What the mounts show; `None` until the first Dataset could be opened.
    tree: Option<Arc<Switch>>,
    /// The Dataset that is desired now. Until it is listed, the former one may still be what the mounts show.
    dataset: Option<Dataset>,
    /// Why there is none, or not the desired one.
    fault: Option<String>,
    life: Option<Life>,
    mounts: BTreeMap<MountId, Served>,
    /// What composed mounts over them show.
    composed: BTreeMap<MountId, compose::Shown>,
    /// How files were opened through mounts that are gone.
    past: OpenCounts,
    handled: Handled,
    /// The id of the eviction under way.
    evicting: Option<String>,
    /// The newest wish for a listing that is not carried out yet, and its number with the Dataset at work.
    wish: Option<(String, u64)>,
    /// The number of the newest wish whose listing the mounts show.
    shown: u64,
    removed: bool,
}

struct Life {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Hosted {
    pub(crate) fn new(desired: DatasetState, handled: Handled) -> Self {
        let state = State {
            tree: None,
            dataset: None,
            fault: None,
            life: None,
            mounts: BTreeMap::new(),
            composed: BTreeMap::new(),
            past: OpenCounts::default(),
            handled,
            evicting: None,
            wish: None,
            shown: 0,
            removed: false,
            desired: desired.clone(),
        };
        let (since, off, uncounted) = (SystemTime::now(), Off::default(), Uncounted::default());
        Self { name: desired.dataset, uid: desired.uid, since, off, uncounted, state: Mutex::new(state) }
    }

    /// With some ways switched off.
    pub(crate) fn without(self, off: Off) -> Self {
        Self { off, ..self }
    }

    /// The state, without mounts that are gone: csi says so too, but its word may be lost with csi or with a former agent, and
    /// what the kernel says is never.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<_> = state.mounts.iter().filter(|(_, served)| served.has_ended()).map(|(mount, _)| *mount).collect();
        for mount in ended {
            self.forget(&mut state, mount);
        }
        state
    }

    /// Forgets a mount that is gone.
    fn forget(&self, state: &mut State, mount: MountId) {
        if let Some(gone) = state.mounts.remove(&mount) {
            state.let_go_of_generations(mount);
            let opens = gone.opens();
            state.past.native += opens.native;
            state.past.served += opens.served;
            info!(dataset = %self.name, %mount, "a mount is gone");
        }
    }

    /// What is desired of it.
    pub(crate) fn desired(&self) -> DatasetState {
        self.state().desired.clone()
    }

    /// The newest wishes that were carried out.
    pub(crate) fn handled(&self) -> Handled {
        self.state().handled.clone()
    }

    /// Ends the work of the Dataset; what it has open is read on.
    pub(crate) async fn rest(&self) {
        let life = self.state().life.take();
        if let Some(Life { stop, task }) = life {
            stop.cancel();
            if let Err(error) = task.await {
                error!(dataset = %self.name, %error, "the Dataset's task died");
            }
        }
    }

    /// Puts `dataset` to work, made of what is `desired` from now on; an error says why there is none.
    pub(crate) fn work(self: &Arc<Self>, desired: DatasetState, dataset: anyhow::Result<Dataset>) {
        let mut state = self.state();
        state.desired = desired;
        match dataset {
            Err(error) => state.fault = Some(format!("{error:#}")),
            Ok(dataset) => {
                state.fault = None;
                if *dataset.generation().borrow() == 0 {
                    // The catalog is lost, or of other mounts: another node's may be from before the wish.
                    state.handled.refreshed = None;
                }
                if let Some(wish) = &state.handled.refreshed {
                    dataset.was_refreshed(wish.clone());
                }
                if state.tree.is_none() {
                    state.tree = Some(Arc::new(Switch::new(dataset.clone())));
                }
                let stop = CancellationToken::new();
                let task = tokio::spawn(self.clone().live(dataset.clone(), stop.clone()));
                state.life = Some(Life { stop, task });
                state.dataset = Some(dataset);
                (state.wish, state.shown) = (None, 0);
            }
        }
        drop(state);
        self.wish();
        self.evict();
    }

    /// Lists the stores anew if somebody asked for it and it has not been done.
    pub(crate) fn wish(&self) {
        let mut state = self.state();
        let State { desired, dataset: Some(dataset), handled, wish: under_way, .. } = &*state else { return };
        let Some(wish) = desired.refresh.clone() else { return };
        if handled.refreshed.as_ref() == Some(&wish) || under_way.as_ref().is_some_and(|(asked, _)| *asked == wish) {
            return;
        }
        let number = dataset.refresh(Some(wish.clone()));
        // Another node may have heard of it first, and had it carried out here.
        match number <= state.shown {
            true => state.handled.refreshed = Some(wish),
            false => state.wish = Some((wish, number)),
        }
    }

    /// Takes up new wishes without touching anything else.
    pub(crate) fn set_wishes(self: &Arc<Self>, desired: DatasetState) {
        self.state().desired = desired;
        self.wish();
        self.evict();
    }

    /// Asks for a new listing without a wish of the operator.
    pub(crate) fn refresh(&self) {
        if let Some(dataset) = &self.state().dataset {
            dataset.refresh(None);
        }
    }

    async fn live(self: Arc<Self>, dataset: Dataset, stop: CancellationToken) {
        let work = tokio::spawn({
            let (dataset, stop) = (dataset.clone(), stop.clone());
            async move { dataset.run(stop).await }
        });
        let (mut generation, mut passes) = (dataset.generation(), dataset.passes());
        let mut shown = 0;
        let mut publishing: Option<JoinHandle<()>> = None;
        let mut anew = Anew::default();
        let changes = || self.uncounted.with(dataset.layer_changes());
        loop {
            let number = *generation.borrow_and_update();
            if number != shown {
                self.show(&dataset, number).await;
                shown = number;
                publishing = self.publish(&dataset, &stop);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = generation.changed() => if changed.is_err() { break },
                changed = passes.changed() => {
                    if changed.is_err() { break }
                    // What it pinned.
                    self.uncounted.count();
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = anew.look(changes, || self.look_anew()) => {}
                    }
                }
                () = anew.keep_looking(changes, || self.look_anew()) => {}
            }
        }
        if let Some(publishing) = publishing
            && let Err(error) = publishing.await
        {
            error!(dataset = %self.name, %error, "publishing died");
        }
        if let Err(error) = work.await {
            error!(dataset = %self.name, %error, "the Dataset's task died");
        }
    }

    /// Lets the mounts show this generation of `dataset`.
    async fn show(self: &Arc<Self>, dataset: &Dataset, number: u64) {
        let (hosted, dataset) = (self.clone(), dataset.clone());
        let shown = tokio::task::spawn_blocking(move || {
            let mut state = hosted.state();
            if let Some(tree) = &state.tree {
                tree.set(dataset.clone());
            }
            state.shown = dataset.refreshed();
            let shown = state.shown;
            if let Some((wish, _)) = state.wish.take_if(|(_, number)| *number <= shown) {
                state.handled.refreshed = Some(wish);
            }
            for mount in state.mounts.values() {
                let told = mount.notifier().invalidate_all(std::iter::once_with(|| top_names(&dataset)).flatten());
                if let Err(error) = told {
                    warn!(dataset = %hosted.name, %error, "the kernel may show the former generation until its answers expire");
                }
            }
            info!(dataset = %hosted.name, generation = number, mounts = state.mounts.len(), "shown");
        });
        if let Err(error) = shown.await {
            error!(dataset = %self.name, %error, "showing a generation died");
        }
    }

    /// Serves a mount; see [`forebay_api::node::Host::serve`].
    pub(crate) async fn serve(
        self: &Arc<Self>,
        request: MountRequest,
        shared: Option<Shared>,
        runtime: Handle,
    ) -> Result<Negotiated, Refusal> {
        let hosted = self.clone();
        let served = tokio::task::spawn_blocking(move || hosted.serve_blocking(request, shared, runtime)).await;
        served.unwrap_or_else(|error| Err(Refusal::new(Reason::Failed, format!("serving {} died: {error}", self.name))))
    }

    fn serve_blocking(&self, request: MountRequest, shared: Option<Shared>, runtime: Handle) -> Result<Negotiated, Refusal> {
        let MountRequest { mount, dataset: _, device, negotiated } = request;
        let mut state = self.state();
        if let Some(there) = state.mounts.get(&mount) {
            return Ok(to_api(there.negotiated()));
        }
        let Some(tree) = state.tree.clone() else {
            let why = state.fault.clone().unwrap_or_else(|| "it is being opened".into());
            return Err(Refusal::new(Reason::NotReady, format!("Dataset {} cannot be served: {why}", self.name)));
        };
        let now = tree.now();
        if *now.generation().borrow() == 0 {
            return Err(Refusal::new(Reason::NotReady, not_listed(&self.name, &now)));
        }
        let failed = |error: String| Refusal::new(Reason::Failed, format!("Dataset {}: {error}", self.name));
        let mut options = MountOptions::new(self.name.to_string(), PathBuf::from(format!("/{}", self.name)));
        options.owner = wishes::owner(&object(&state.desired));
        options.not_native = self.off.native;
        // Also where composing is switched off: pods may see what was composed before.
        options.beneath_overlay = compose::not_asked(&state).is_none();
        let served = serve_descriptor(tree, &options, runtime, device, negotiated.map(from_api), shared);
        let served = served.map_err(|error| failed(error.to_string()))?;
        let agreed = to_api(served.negotiated());
        info!(dataset = %self.name, %mount, taken_over = negotiated.is_some(), "serving a mount");
        state.mounts.insert(mount, served);
        Ok(agreed)
    }

    pub(crate) fn resend(&self, mount: MountId) {
        if let Some(there) = self.state().mounts.get(&mount)
            && let Err(error) = there.notifier().resend()
        {
            warn!(dataset = %self.name, %mount, %error, "what a former agent left unanswered is not asked for again");
        }
    }

    /// The word of csi that a mount is gone.
    pub(crate) fn release(&self, mount: MountId) {
        self.forget(&mut self.state(), mount);
    }

    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let state = self.state();
        let holding = |(mount, there): (&MountId, &Served)| {
            let device = there.device().ok()?;
            Some(Holding { mount: *mount, dataset: self.name.clone(), negotiated: to_api(there.negotiated()), device })
        };
        state.mounts.iter().filter_map(holding).collect()
    }

    /// The Dataset as other agents may ask of it: not one that is to go.
    pub(crate) fn for_peers(&self) -> Option<Dataset> {
        let state = self.state();
        state.dataset.clone().filter(|_| !state.removed)
    }

    /// Whether its Dataset lists and fetches: not while it is replaced, nor when it could not be.
    pub(crate) fn is_at_work(&self) -> bool {
        self.state().life.is_some()
    }

    /// The operator wants it gone.
    pub(crate) fn remove(&self) {
        self.state().removed = true;
    }

    /// The operator wants it after all, as when a node is chosen again whose pods had it stay.
    pub(crate) fn stay(&self) {
        self.state().removed = false;
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.state().removed
    }

    /// Whether it is to go and no mount shows it any more.
    pub(crate) fn may_go(&self) -> bool {
        let state = self.state();
        state.removed && state.mounts.is_empty()
    }

    /// How it does, for status and metrics.
    pub(crate) fn view(&self) -> DatasetView {
        let (dataset, fault, generation, mounted) = {
            let state = self.state();
            (state.dataset.clone(), state.fault.clone(), state.desired.generation, !state.mounts.is_empty())
        };
        let mut status = dataset.as_ref().map(Dataset::status).unwrap_or_default();
        if let Some(fault) = fault {
            refuse(&mut status, fault);
        }
        status.observed_generation = Some(generation);
        let not_native = self.opens().why_not;
        status.conditions.extend(self.ways(not_native.as_deref()));
        DatasetView {
            namespace: self.name.namespace.clone(),
            name: self.name.name.clone(),
            at: PathBuf::new(),
            mounted,
            since: self.since,
            listing: dataset.as_ref().and_then(Dataset::listing),
            status,
            not_native,
        }
    }

    /// How files were opened, through all mounts that there were.
    pub(crate) fn opens(&self) -> OpenCounts {
        let state = self.state();
        state.mounts.values().map(Served::opens).fold(state.past.clone(), |mut all, one| {
            all.native += one.native;
            all.served += one.served;
            all.kept_ids += one.kept_ids;
            all.why_not = all.why_not.or(one.why_not);
            all
        })
    }

    /// The same as the operator is told.
    pub(crate) fn progress(&self) -> DatasetProgress {
        // Before the view: a report that says that a wish was carried out shows what came of it.
        let Handled { refreshed, evicted } = self.handled();
        let report = self.view();
        let state = self.state();
        DatasetProgress {
            uid: self.uid.clone(),
            report,
            refreshed,
            evicted,
            mounts: u32::try_from(state.mounts.len()).unwrap_or(u32::MAX),
        }
    }
}

/// `desired` as the object that it is in the cluster.
pub(crate) fn object(desired: &DatasetState) -> DatasetObject {
    let mut object = DatasetObject::new(&desired.dataset.name, desired.spec.clone());
    object.metadata.namespace = Some(desired.dataset.namespace.clone());
    object
}

/// A Dataset that could not be opened as desired.
fn refuse(status: &mut DatasetStatus, fault: String) {
    status.phase = Phase::Failed;
    status.conditions.retain(|condition| condition.type_ != conditions::dataset::ACCEPTED);
    status.conditions.push(Condition {
        type_: conditions::dataset::ACCEPTED.into(),
        status: "False".into(),
        reason: conditions::reason::INVALID.into(),
        message: fault,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    });
}

fn not_listed(name: &DatasetName, dataset: &Dataset) -> String {
    let status = dataset.status();
    let failed = status.conditions.into_iter().find(|condition| {
        condition.type_ == conditions::dataset::STORES_REACHABLE && condition.status == "False" && !condition.message.is_empty()
    });
    match (failed, dataset.listing()) {
        (Some(condition), _) => format!("Dataset {name} is not listed yet: {}", condition.message),
        (None, Some(seen)) => format!("Dataset {name} is being listed: {seen} objects so far"),
        (None, None) => format!("Dataset {name} is not listed yet"),
    }
}

fn to_api(forebay_fuse::Negotiated { minor, flags, max_readahead }: forebay_fuse::Negotiated) -> Negotiated {
    Negotiated { minor, flags, max_readahead }
}

fn from_api(Negotiated { minor, flags, max_readahead }: Negotiated) -> forebay_fuse::Negotiated {
    forebay_fuse::Negotiated { minor, flags, max_readahead }
}
