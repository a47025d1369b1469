//! What is desired of an agent, and the words that bring it from what it was told to that: pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::session::{DatasetState, OperatorMessage, PeerState, PeersChange, Removed, RuntimeState};

/// What is desired of the agents of one runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    /// `None`: there is no such runtime (any more).
    pub(crate) runtime: Option<Arc<RuntimeState>>,
    /// By uid.
    pub(crate) datasets: BTreeMap<String, Arc<DatasetState>>,
    /// Whether `datasets` is all: not while a Secret could not be read yet, since what is not named is given up.
    pub(crate) complete: bool,
    /// Nodes whose agents are to go, and let go of everything before.
    pub(crate) leaving: BTreeSet<String>,
    /// The agents that serve each other, by node.
    pub(crate) peers: Arc<BTreeMap<String, PeerState>>,
}

impl Desired {
    /// What is desired on one node.
    pub(crate) fn on<'a>(&'a self, node: &str) -> Cow<'a, Self> {
        if self.leaving.contains(node) {
            let leaves = |runtime: &Arc<RuntimeState>| Arc::new(RuntimeState { leaving: true, ..(**runtime).clone() });
            Cow::Owned(Self { runtime: self.runtime.as_ref().map(leaves), datasets: BTreeMap::new(), ..self.clone() })
        } else {
            Cow::Borrowed(self)
        }
    }
}

/// What an agent was told in its session.
#[derive(Debug, Default)]
pub(crate) struct Told {
    runtime: Option<Arc<RuntimeState>>,
    datasets: BTreeMap<String, Arc<DatasetState>>,
    synced: bool,
    peers: Option<Arc<BTreeMap<String, PeerState>>>,
}

impl Told {
    /// The next words to the agent, in order; none when it knows everything. Notes them as told.
    pub(crate) fn next(&mut self, desired: &Desired) -> Vec<OperatorMessage> {
        let mut words = Vec::new();
        if let Some(runtime) = &desired.runtime
            && self.runtime.as_ref() != Some(runtime)
        {
            words.push(OperatorMessage::Runtime((**runtime).clone()));
            self.runtime = Some(runtime.clone());
        }
        if desired.complete {
            let gone: Vec<String> = self.datasets.keys().filter(|uid| !desired.datasets.contains_key(*uid)).cloned().collect();
            for uid in gone {
                if let Some(state) = self.datasets.remove(&uid) {
                    words.push(OperatorMessage::Removed(Removed { uid, dataset: state.dataset.clone() }));
                }
            }
        }
        for (uid, state) in &desired.datasets {
            // The same Arc is the common case; the comparison is for states that were made anew without a change.
            let known = self.datasets.get(uid).is_some_and(|told| Arc::ptr_eq(told, state) || told == state);
            if !known {
                words.push(OperatorMessage::Dataset((**state).clone()));
                self.datasets.insert(uid.clone(), state.clone());
            }
        }
        words.extend(self.peers(&desired.peers).map(OperatorMessage::Peers));
        if desired.complete && !self.synced {
            words.push(OperatorMessage::Synced);
            self.synced = true;
        }
        words
    }

    /// What has changed of who is there: a thousand agents do not hear of all thousand each time that one comes.
    fn peers(&mut self, now: &Arc<BTreeMap<String, PeerState>>) -> Option<PeersChange> {
        let before = self.peers.replace(now.clone());
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, now)) {
            return None;
        }
        let anew = before.is_none();
        let known = before.unwrap_or_default();
        let there: Vec<_> = now.values().filter(|peer| known.get(&peer.node) != Some(peer)).cloned().collect();
        let gone: Vec<_> = known.keys().filter(|node| !now.contains_key(*node)).cloned().collect();
        (!there.is_empty() || !gone.is_empty()).then_some(PeersChange { anew, there, gone })
    }
}

#[cfg(test)]
#[path = "desired/tests.rs"]
mod tests;
