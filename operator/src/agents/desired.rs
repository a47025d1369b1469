//! What is desired of an agent, and the words that bring it from what it was told to that: pure.

mod peers;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_api::session::{DatasetState, OperatorMessage, PeersChange, Removed, RuntimeState};

pub(crate) use peers::Peers;

/// What is desired of the agents of one runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    /// `None`: there is no such runtime (any more).
    pub(crate) runtime: Option<Arc<RuntimeState>>,
    /// By uid.
    pub(crate) datasets: Arc<BTreeMap<String, Arc<DatasetState>>>,
    /// Whether `datasets` is all: not while a Secret could not be read yet, since what is not named is given up.
    pub(crate) complete: bool,
    /// Nodes whose agents are to go, and let go of everything before.
    pub(crate) leaving: BTreeSet<String>,
    /// The agents that serve each other.
    pub(crate) peers: Arc<Peers>,
}

impl Desired {
    /// What is desired on one node.
    pub(crate) fn on<'a>(&'a self, node: &str) -> Cow<'a, Self> {
        if self.leaving.contains(node) {
            let leaves = |runtime: &Arc<RuntimeState>| Arc::new(RuntimeState { leaving: true, ..(**runtime).clone() });
            Cow::Owned(Self { runtime: self.runtime.as_ref().map(leaves), datasets: Arc::default(), ..self.clone() })
        } else {
            Cow::Borrowed(self)
        }
    }
}

/// A word to an agent. Made into its message only when it is sent: a session that begins is told of every Dataset and of every other
/// agent, and of a thousand sessions that begin together each would hold them all.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Runtime(Arc<RuntimeState>),
    Dataset(Arc<DatasetState>),
    Removed(Removed),
    Peers(Arc<PeersChange>),
    Synced,
}

impl From<Word> for OperatorMessage {
    fn from(word: Word) -> Self {
        match word {
            Word::Runtime(state) => Self::Runtime((*state).clone()),
            Word::Dataset(state) => Self::Dataset((*state).clone()),
            Word::Removed(removed) => Self::Removed(removed),
            Word::Peers(change) => Self::Peers(Arc::unwrap_or_clone(change)),
            Word::Synced => Self::Synced,
        }
    }
}

/// What an agent was told in its session. Agents that were told the same share it: of a thousand Datasets, none keeps a list.
#[derive(Debug, Default)]
pub(crate) struct Told {
    runtime: Option<Arc<RuntimeState>>,
    datasets: Arc<BTreeMap<String, Arc<DatasetState>>>,
    /// Told, and not in `datasets` since that is not all. Empty but while a Secret cannot be read.
    besides: BTreeMap<String, Arc<DatasetState>>,
    synced: bool,
    peers: Option<Arc<Peers>>,
}

impl Told {
    /// The next words to the agent, in order; none when it knows everything. Notes them as told.
    pub(crate) fn next(&mut self, desired: &Desired) -> Vec<Word> {
        let mut words = Vec::new();
        if let Some(runtime) = &desired.runtime
            && self.runtime.as_ref() != Some(runtime)
        {
            words.push(Word::Runtime(runtime.clone()));
            self.runtime = Some(runtime.clone());
        }
        let before = std::mem::replace(&mut self.datasets, desired.datasets.clone());
        if !Arc::ptr_eq(&before, &self.datasets) || !self.besides.is_empty() {
            self.differences(&before, desired.complete, &mut words);
        }
        words.extend(self.peers(&desired.peers).map(Word::Peers));
        if desired.complete && !self.synced {
            words.push(Word::Synced);
            self.synced = true;
        }
        words
    }

    /// From what was told `before` to what is desired now.
    fn differences(&mut self, before: &BTreeMap<String, Arc<DatasetState>>, complete: bool, words: &mut Vec<Word>) {
        let mut besides = std::mem::take(&mut self.besides);
        besides.extend(
            before.iter().filter(|(uid, _)| !self.datasets.contains_key(*uid)).map(|(uid, told)| (uid.clone(), told.clone())),
        );
        for (uid, state) in &*self.datasets {
            let told = besides.remove(uid);
            // The same Arc is the common case; the comparison is for states that were made anew without a change.
            let same = |told: &Arc<DatasetState>| Arc::ptr_eq(told, state) || told == state;
            if !before.get(uid).or(told.as_ref()).is_some_and(same) {
                words.push(Word::Dataset(state.clone()));
            }
        }
        if complete {
            let removed = |(uid, told): (String, Arc<DatasetState>)| Removed { uid, dataset: told.dataset.clone() };
            // First of all: what is made anew under the same name is told after the former is gone.
            let gone: Vec<_> = besides.into_iter().map(|gone| Word::Removed(removed(gone))).collect();
            let at = words.iter().take_while(|word| matches!(word, Word::Runtime(_))).count();
            words.splice(at..at, gone);
        } else {
            self.besides = besides;
        }
    }

    /// What has changed of who is there: a thousand agents do not hear of all thousand each time that one comes.
    fn peers(&mut self, now: &Arc<Peers>) -> Option<Arc<PeersChange>> {
        if self.peers.as_ref().is_some_and(|told| Arc::ptr_eq(told, now)) {
            return None;
        }
        let change = now.since(self.peers.as_ref());
        // While nobody is known, as before the runtime is looked at for the first time, nothing is said and so nothing is told: the first
        // that is said has to tell the agent to forget those of its former session.
        if self.peers.is_some() || change.is_some() {
            self.peers = Some(now.clone());
        }
        change
    }
}

#[cfg(test)]
#[path = "desired/tests.rs"]
mod tests;
