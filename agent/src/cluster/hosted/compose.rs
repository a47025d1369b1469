//! Composed mounts, which csi makes: what they are made of, and what they must find while they are there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use forebay_api::node::{BackingClient, Composed, Layers, MountId};
use forebay_cache::Cache;
use forebay_crds::dataset::{ConsistencyPolicy, RefreshPolicy};
use forebay_crds::k8s::Condition;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_dataset::Dataset;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Hosted, State, object};
use crate::{way, wishes};

/// What composed mounts over a mount show, and by whom that is known.
pub(super) struct Shown {
    composed: Composed,
    csi: BackingClient,
}

/// Why nobody asks for a Dataset's tree to be composed; `None`: somebody does.
pub(super) fn not_asked(state: &State) -> Option<&'static str> {
    let consistency = &state.desired.spec.consistency;
    match (consistency.policy, consistency.refresh) {
        (ConsistencyPolicy::Snapshot, RefreshPolicy::NewPods) => None,
        _ => Some("pods that run are to see what changes: only a Snapshot with consistency.refresh: NewPods is composed"),
    }
}

impl State {
    /// A mount is gone, and with it those over it.
    pub(super) fn let_go_of_generations(&mut self, mount: MountId) {
        if self.composed.remove(&mount).is_some() {
            self.hold();
        }
    }

    /// Keeps the generations that composed mounts show, and no others.
    fn hold(&self) {
        let shown: BTreeSet<u64> = self.composed.values().flat_map(|shown| shown.composed.generations.iter().copied()).collect();
        // Of two Datasets, one of which follows the other, both know the generations.
        let datasets = self.tree.iter().map(|tree| tree.now()).chain(self.dataset.clone());
        datasets.for_each(|dataset| dataset.hold_only(&Vec::from_iter(shown.iter().copied())));
    }
}

impl Hosted {
    /// What keeps the tree from being composed; `None`: it is to be tried.
    fn why_not(&self, state: &State) -> Option<&'static str> {
        not_asked(state).or(self.off.composed)
    }

    pub(crate) fn serves(&self, mount: MountId) -> bool {
        self.state().mounts.contains_key(&mount)
    }

    /// What the generation that is shown now is composed of, or why its tree is not to be composed.
    pub(crate) async fn compose(self: &Arc<Self>, cache: Cache) -> Result<Layers, String> {
        let hosted = self.clone();
        let composed = tokio::task::spawn_blocking(move || hosted.compose_blocking(&cache));
        composed.await.unwrap_or_else(|error| Err(format!("composing died: {error}")))
    }

    fn compose_blocking(&self, cache: &Cache) -> Result<Layers, String> {
        let (dataset, owner) = {
            let state = self.state();
            if let Some(why) = self.why_not(&state) {
                return Err(why.into());
            }
            let tree = state.tree.as_ref().ok_or("it is being opened")?;
            (tree.now(), wishes::owner(&object(&state.desired)))
        };
        let composition = dataset.compose_held(&owner).map_err(|error| error.to_string())?.ok_or("nothing is listed yet")?;
        let open = |path: &Path| -> Result<OwnedFd, String> {
            let opened: io::Result<File> = File::open(path);
            opened.map(Into::into).map_err(|error| format!("cannot open {}: {error}", path.display()))
        };
        let directories = cache.published().iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        let namespace = open(Path::new("/proc/self/ns/mnt"))?;
        Ok(Layers { generation: composition.generation, namespace, image: open(&composition.image)?, directories })
    }

    /// The word of csi on what is shown over a mount.
    pub(crate) fn composed(&self, mount: MountId, composed: Composed, csi: BackingClient) {
        let mut state = self.state();
        match &composed.why_not {
            Some(why) if self.why_not(&state).is_none() => {
                warn!(dataset = %self.name, %mount, why, "not composed: read through the agent")
            }
            Some(_) => {}
            None => info!(dataset = %self.name, %mount, generations = ?composed.generations, "composed"),
        }
        if state.composed.insert(mount, Shown { composed, csi }).is_none() {
            self.uncounted.count();
        }
        state.hold();
    }

    /// Publishes what is pinned and complete already, where composed mounts may make use of it, and lets what is small be published as it
    /// comes.
    pub(super) fn publish(self: &Arc<Self>, dataset: &Dataset, stop: &CancellationToken) -> Option<JoinHandle<()>> {
        if self.why_not(&self.state()).is_some() {
            return None;
        }
        let (hosted, dataset, stop) = (self.clone(), dataset.clone(), stop.clone());
        Some(tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || dataset.publish(|| !stop.is_cancelled())).await {
                Ok(0) => {}
                Ok(_) => {
                    hosted.look_anew().await;
                    // Once more, for what was open and if it failed.
                    hosted.uncounted.count();
                }
                Err(error) => error!(dataset = %hosted.name, %error, "publishing died"),
            }
        }))
    }

    /// Lets the kernel look anew for the data of files that nobody has open: published files in place of what comes through this agent,
    /// and the space of files that are gone. Whether it does in all mounts.
    pub(super) async fn look_anew(&self) -> bool {
        let shown: Vec<_> = {
            let state = self.state();
            let composed = state.composed.iter().filter(|(_, shown)| !shown.composed.generations.is_empty());
            composed.map(|(mount, shown)| (*mount, shown.csi.clone())).collect()
        };
        let mut by_all = true;
        for (mount, csi) in shown {
            if let Err(error) = csi.forget(mount).await {
                by_all = false;
                debug!(dataset = %self.name, %mount, %error, "files are read as they were first opened until it is tried again");
            }
        }
        by_all
    }

    /// What the status says of the way files are read while something is mounted. When it turned the operator remembers.
    pub(super) fn ways(&self, not_native: Option<&str>) -> Vec<Condition> {
        let (since, state) = (Timestamp::UNIX_EPOCH, self.state());
        if state.mounts.is_empty() {
            return Vec::new();
        }
        if let Some(why) = not_asked(&state) {
            return vec![way::native(not_native, Some(why), since)];
        }
        let switched_off = self.off.composed.map(str::to_owned);
        let failed = switched_off.or_else(|| state.composed.values().find_map(|shown| shown.composed.why_not.clone()));
        let native = way::native(not_native, failed.as_deref(), since);
        // Composed once a pod is there for whom it was tried.
        let tried = failed.is_some() || state.composed.values().any(|shown| !shown.composed.generations.is_empty());
        tried.then(|| way::composed(failed, since)).into_iter().chain([native]).collect()
    }
}
