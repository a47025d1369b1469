//! What the agents said last, and which of them still answer.

mod agents;
mod born;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use forebay_api::session::{AgentIdentity, DatasetProgress, Health, Hello, SIGN_OF_LIFE};
use tokio::time::Instant;

use super::standing::Standing;
use agents::Agents;
use born::Clock;
pub(crate) use born::SAME_MOMENT;

/// An agent that said nothing for so long does not count.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// One that said nothing for so long has missed its sign of life.
const LATE: Duration = Duration::from_secs(11);
/// By how much later than it is due a sign of life may be heard.
const WAY: Duration = Duration::from_secs(1);
const _: () = {
    let (sign, way, late, silence) = (SIGN_OF_LIFE.as_millis(), WAY.as_millis(), LATE.as_millis(), SILENCE.as_millis());
    assert!(sign + way < late, "an agent that is well would be late");
    // The last words of all are so far apart.
    assert!(late + sign + way <= silence, "where all fall silent at once, the first would be silent before the last is late");
};
/// How long a new session may live on what the agent's former session reported.
const INHERITED: Duration = Duration::from_secs(10);
/// Within so long an agent has said of each Dataset how it does.
const SETTLED: Duration = Duration::from_secs(5);
/// Datasets that one agent may report on.
const MOST: usize = 10_000;

/// What all agents said. Only a replica that leads has one.
#[derive(Debug)]
pub(crate) struct Registry {
    /// By runtime.
    runtimes: Mutex<HashMap<String, Agents>>,
    clock: Clock,
}

impl Default for Registry {
    fn default() -> Self {
        Self::at(Instant::now(), SystemTime::now())
    }
}

/// An agent that answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Live {
    pub(crate) node: String,
    pub(crate) pod: String,
    pub(crate) version: String,
    pub(crate) health: Option<Health>,
    /// Mounts of Datasets on the node.
    pub(crate) mounts: u32,
    /// Datasets that it has and has not let go of.
    pub(crate) datasets: usize,
    /// It has been there long enough to have said what it has.
    pub(crate) settled: bool,
    /// It has missed its sign of life.
    pub(crate) late: bool,
    /// Since when its node may have had data, in seconds since 1970; `None`: it does not say.
    pub(crate) born: Option<u64>,
}

impl Registry {
    /// Of which nobody has said anything yet, begun at `start`, which is the moment `wall`.
    pub(crate) fn at(start: Instant, wall: SystemTime) -> Self {
        Self { runtimes: Mutex::default(), clock: Clock::new(start, wall) }
    }

    fn runtimes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Agents>> {
        // Counts that a panic elsewhere left behind are put right when their agent connects anew.
        self.runtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A session begins; it displaces the one before of the same agent. Returns its number.
    pub(crate) fn connect(&self, agent: &AgentIdentity, hello: Hello, now: Instant) -> u32 {
        self.runtimes().entry(agent.runtime.as_str().to_owned()).or_default().connect(&agent.node, hello, now)
    }

    /// The session ends. The agent counts for [`SILENCE`] longer: it may be back at once.
    pub(crate) fn disconnect(&self, agent: &AgentIdentity, session: u32) {
        if let Some(agents) = self.runtimes().get_mut(&*agent.runtime) {
            agents.disconnect(&agent.node, session);
        }
    }

    /// Notes that the session's agent has spoken. `false`: another session has displaced this one.
    pub(crate) fn health(&self, agent: &AgentIdentity, session: u32, health: Health, now: Instant) -> bool {
        let born = health.age.map(|age| self.clock.moment(age, now));
        self.with(agent, |agents| agents.health(&agent.node, session, health, born, now))
    }

    pub(crate) fn progress(&self, agent: &AgentIdentity, session: u32, progress: DatasetProgress, now: Instant) -> bool {
        self.with(agent, |agents| agents.progress(&agent.node, session, progress, now))
    }

    pub(crate) fn released(&self, agent: &AgentIdentity, session: u32, uid: &str, now: Instant) -> bool {
        self.with(agent, |agents| agents.released(&agent.node, session, uid, now))
    }

    fn with(&self, agent: &AgentIdentity, change: impl FnOnce(&mut Agents) -> bool) -> bool {
        self.runtimes().get_mut(&*agent.runtime).is_some_and(change)
    }

    /// The agents of a runtime that answer, by node.
    pub(crate) fn live(&self, runtime: &str, now: Instant) -> Vec<Live> {
        self.runtimes().get(runtime).map_or_else(Vec::new, |agents| agents.live(now))
    }

    /// What the agents of a runtime that answer say of a Dataset, by node.
    pub(crate) fn reports(&self, runtime: &str, uid: &str, now: Instant) -> BTreeMap<Arc<str>, Standing> {
        self.runtimes().get(runtime).map_or_else(BTreeMap::new, |agents| agents.reports(uid, now))
    }

    /// The nodes of a runtime whose agents answer and say that they have brought in all that they keep of each of these Datasets of which some
    /// agent has cached something.
    pub(crate) fn share_complete(&self, runtime: &str, uids: &[String], now: Instant) -> BTreeSet<String> {
        self.runtimes().get(runtime).map_or_else(BTreeSet::new, |agents| agents.share_complete(uids, now))
    }

    /// What one agent says of these Datasets, by uid, or nothing of those that it has not. `None`: it does not answer, or does
    /// not serve yet.
    pub(crate) fn standings(&self, runtime: &str, node: &str, uids: &[&str], now: Instant) -> Option<BTreeMap<String, Standing>> {
        self.runtimes().get(runtime).and_then(|agents| agents.standings(node, uids, now))
    }

    /// Bytes of a Dataset that the agents of a runtime that answer have cached, by node; those that have none are left out.
    pub(crate) fn cached(&self, runtime: &str, uid: &str, now: Instant) -> Vec<(String, u64)> {
        self.runtimes().get(runtime).map_or_else(Vec::new, |agents| agents.cached(uid, now))
    }

    /// The nodes whose agents, of whatever runtime, answer and still have a Dataset.
    pub(crate) fn holding(&self, uid: &str, now: Instant) -> BTreeSet<String> {
        self.runtimes().values().flat_map(|agents| agents.holding(uid, now)).collect()
    }

    /// Forgets what does not count any more, and reports on what is not in `known`; returns the runtimes whose agents
    /// stopped counting.
    pub(crate) fn sweep(&self, known: &HashSet<String>, now: Instant) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        self.runtimes().retain(|runtime, agents| {
            if agents.sweep(known, now) {
                lost.insert(runtime.clone());
            }
            !agents.is_empty()
        });
        lost
    }

    /// Agents with a session.
    pub(crate) fn connected(&self) -> usize {
        self.runtimes().values().map(Agents::connected).sum()
    }
}
