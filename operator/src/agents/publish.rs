//! What is desired of the agents of each runtime, from the caches and the Secrets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use forebay_api::DatasetName;
use forebay_api::session::{DatasetState, PeerState, RuntimeState};
use forebay_crds::{CacheRuntime, Dataset, DatasetSpec, Prefetch, PrefetchPolicy};
use kube::ResourceExt as _;
use tokio::sync::watch;

use super::desired::{Desired, Peers};
use crate::dataset::{asked, eviction, is_releasing, secret_names, unallowed_paths};
use crate::names;
use crate::secrets::SecretState;

/// The newest state for each runtime, to be watched by its agents' sessions.
#[derive(Debug, Default)]
pub(crate) struct Published {
    runtimes: Mutex<HashMap<String, watch::Sender<Arc<Desired>>>>,
}

impl Published {
    fn runtimes(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Arc<Desired>>>> {
        self.runtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Follows what is desired of a runtime's agents, from what is desired now. Nothing is complete before the first
    /// [`Self::publish`].
    pub(crate) fn follow(&self, runtime: &str) -> watch::Receiver<Arc<Desired>> {
        let new = || watch::Sender::new(Arc::default());
        self.runtimes().entry(runtime.to_owned()).or_insert_with(new).subscribe()
    }

    /// The agents of `nodes` are to let go of everything, those of other nodes not.
    pub(crate) fn set_leaving(&self, runtime: &str, nodes: &BTreeSet<String>) {
        self.change(runtime, |desired| desired.leaving != *nodes, |desired| desired.leaving.clone_from(nodes));
    }

    /// These agents serve each other.
    pub(crate) fn set_peers(&self, runtime: &str, peers: BTreeMap<String, PeerState>) {
        let differs = |desired: &Desired| *desired.peers.all() != peers;
        self.change(runtime, differs, |desired| desired.peers = Arc::new(Peers::new(peers.clone())));
    }

    /// Nodes of a runtime that are about to go, as its agents are told.
    pub(crate) fn leaving_peers(&self, runtime: &str) -> BTreeSet<String> {
        let peers = self.runtimes().get(runtime).map(|sender| sender.borrow().peers.clone()).unwrap_or_default();
        peers.all().values().filter(|peer| peer.leaving).map(|peer| peer.node.clone()).collect()
    }

    /// Changes what is desired of a runtime's agents, where it differs.
    fn change(&self, runtime: &str, differs: impl Fn(&Desired) -> bool, change: impl FnOnce(&mut Desired)) {
        let mut runtimes = self.runtimes();
        let sender = runtimes.entry(runtime.to_owned()).or_insert_with(|| watch::Sender::new(Arc::default()));
        sender.send_if_modified(|desired| {
            let differs = differs(desired);
            if differs {
                change(Arc::make_mut(desired));
            }
            differs
        });
    }

    /// Publishes what the objects say. `secret` tells of a namespace and a name.
    pub(crate) fn publish(
        &self,
        datasets: &[Arc<Dataset>],
        runtimes: &[Arc<CacheRuntime>],
        secret: impl Fn(&str, &str) -> SecretState,
    ) {
        let mut new = desired(datasets, runtimes, secret, |runtime, uid| {
            self.runtimes().get(runtime).and_then(|sender| sender.borrow().datasets.get(uid).cloned())
        });
        let mut published = self.runtimes();
        for name in new.keys() {
            published.entry(name.clone()).or_insert_with(|| watch::Sender::new(Arc::default()));
        }
        published.retain(|name, sender| {
            let desired = new.remove(name).unwrap_or(Desired { complete: true, ..Desired::default() });
            let gone = desired.runtime.is_none();
            sender.send_if_modified(|current| {
                let desired = Desired { leaving: current.leaving.clone(), peers: current.peers.clone(), ..desired };
                let differs = differ(current, &desired);
                if differs {
                    *current = Arc::new(desired);
                }
                differs
            });
            // A runtime that is gone is kept for the sessions that still have to hear so.
            !gone || sender.receiver_count() > 0
        });
    }
}

fn differ(a: &Desired, b: &Desired) -> bool {
    let same_datasets = a.datasets.len() == b.datasets.len()
        && a.datasets.iter().zip(&*b.datasets).all(|(a, b)| a.0 == b.0 && (Arc::ptr_eq(a.1, b.1) || a.1 == b.1));
    a.complete != b.complete || a.runtime != b.runtime || !same_datasets
}

/// What is desired of the agents of each runtime. `before` tells what was, of a runtime and a uid.
fn desired(
    datasets: &[Arc<Dataset>],
    runtimes: &[Arc<CacheRuntime>],
    secret: impl Fn(&str, &str) -> SecretState,
    before: impl Fn(&str, &str) -> Option<Arc<DatasetState>>,
) -> HashMap<String, Desired> {
    let mut all: HashMap<String, Desired> = runtimes
        .iter()
        .map(|runtime| {
            let name = runtime.name_any();
            let generation = runtime.metadata.generation.unwrap_or(0);
            let leaving = runtime.metadata.deletion_timestamp.is_some();
            let state = RuntimeState { name: name.clone(), generation, spec: runtime.spec.clone(), leaving };
            (name, Desired { runtime: Some(Arc::new(state)), complete: true, ..Desired::default() })
        })
        .collect();
    let ending: BTreeSet<String> = runtimes
        .iter()
        .filter(|runtime| runtime.metadata.deletion_timestamp.is_some())
        .map(|runtime| runtime.name_any())
        .collect();
    for dataset in datasets {
        // Agents of a runtime that is being deleted let go of everything.
        if ending.contains(&*dataset.spec.runtime) {
            continue;
        }
        let (Some(uid), Some(desired)) = (dataset.uid(), all.get_mut(&*dataset.spec.runtime)) else { continue };
        let refused = desired.runtime.as_ref().is_some_and(|runtime| !unallowed_paths(&dataset.spec, &runtime.spec).is_empty());
        if is_releasing(dataset) || refused {
            continue;
        }
        let before = before(&dataset.spec.runtime, &uid);
        let state = match (state(dataset, &uid, &secret), before) {
            // As it was told to the agents: what did not change is the same for all who look, without comparing.
            (Some(state), Some(before)) if *before == state => Some(before),
            (Some(state), _) => Some(Arc::new(state)),
            (None, before) => before,
        };
        match state {
            Some(state) => drop(Arc::make_mut(&mut desired.datasets).insert(uid, state)),
            None => desired.complete = false,
        }
    }
    all
}

/// What is desired of a Dataset; `None` while a Secret that it names could not be read yet.
fn state(dataset: &Dataset, uid: &str, secret: impl Fn(&str, &str) -> SecretState) -> Option<DatasetState> {
    let namespace = dataset.namespace().unwrap_or_default();
    let mut secrets = Vec::new();
    for name in secret_names(&dataset.spec) {
        match secret(&namespace, name) {
            SecretState::Unknown => return None,
            SecretState::Found(data) => secrets.push((*data).clone()),
            // The agent says what it cannot reach; the Dataset's condition says why.
            SecretState::Missing | SecretState::Denied(_) => {}
        }
    }
    Some(DatasetState {
        dataset: DatasetName::new(namespace, dataset.name_any()),
        uid: uid.to_owned(),
        generation: dataset.metadata.generation.unwrap_or(0),
        spec: spec(dataset),
        secrets,
        refresh: asked(dataset, names::REFRESH).map(str::to_owned),
        evict: eviction(dataset),
    })
}

/// The spec as agents know it: on whose account data is fetched ahead, and whether it is time, is not theirs to know.
fn spec(dataset: &Dataset) -> DatasetSpec {
    let mut spec = dataset.spec.clone();
    if spec.prefetch.policy == PrefetchPolicy::OnFirstUse {
        if dataset.status.as_ref().is_some_and(|status| status.first_used_at.is_some()) {
            spec.prefetch.policy = PrefetchPolicy::Eager;
        } else {
            spec.prefetch = Prefetch::default();
        }
    }
    spec
}

#[cfg(test)]
#[path = "publish/tests.rs"]
mod tests;
