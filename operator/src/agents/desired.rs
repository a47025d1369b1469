//! What is desired of an agent, and the words that bring it from what it was told to that: pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::session::{DatasetState, OperatorMessage, Removed, RuntimeState};

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
        if desired.complete && !self.synced {
            words.push(OperatorMessage::Synced);
            self.synced = true;
        }
        words
    }
}

#[cfg(test)]
#[path = "desired/tests.rs"]
mod tests;
