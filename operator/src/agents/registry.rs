//! What the agents said last, and which of them still answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use forebay_api::session::{AgentIdentity, DatasetProgress, Health, Hello};
use forebay_crds::DatasetStatus;
use tokio::time::Instant;

/// An agent that said nothing for so long does not count. It speaks at least once in ten seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
/// How long a new session may live on what the agent's former session reported.
const INHERITED: Duration = Duration::from_secs(10);
/// Within so long an agent has said of each Dataset how it does.
const SETTLED: Duration = Duration::from_secs(5);
/// Datasets that one agent may report on.
const MOST: usize = 10_000;

/// What all agents said. Only a replica that leads has one.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    agents: Mutex<HashMap<AgentIdentity, Agent>>,
}

#[derive(Debug)]
struct Agent {
    session: u64,
    connected: bool,
    hello: Hello,
    last: Instant,
    /// What it says counts as current from here; what it said before, for a while.
    since: Instant,
    health: Option<Health>,
    reports: BTreeMap<String, (DatasetProgress, Instant)>,
    released: HashSet<String>,
    /// Whether it was last found to answer.
    counted: bool,
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
    /// Uids of the Datasets that it has and has not let go of.
    pub(crate) datasets: BTreeSet<String>,
    /// It has been there long enough to have said what it has.
    pub(crate) settled: bool,
}

impl Registry {
    fn agents(&self) -> std::sync::MutexGuard<'_, HashMap<AgentIdentity, Agent>> {
        // What a panic elsewhere left is whole: every change below is one assignment.
        self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A session begins; it displaces the one before of the same agent. Returns its number.
    pub(crate) fn connect(&self, agent: &AgentIdentity, hello: Hello, now: Instant) -> u64 {
        let mut agents = self.agents();
        let former = agents.remove(agent);
        let session = former.as_ref().map_or(1, |former| former.session + 1);
        let (health, reports) = former.map_or_else(Default::default, |former| (former.health, former.reports));
        let released = HashSet::new();
        let new = Agent { session, connected: true, hello, last: now, since: now, health, reports, released, counted: true };
        agents.insert(agent.clone(), new);
        session
    }

    /// The session ends. The agent counts for [`SILENCE`] longer: it may be back at once.
    pub(crate) fn disconnect(&self, agent: &AgentIdentity, session: u64) {
        if let Some(known) = self.agents().get_mut(agent).filter(|known| known.session == session) {
            known.connected = false;
        }
    }

    /// Notes that the session's agent has spoken. `false`: another session has displaced this one.
    pub(crate) fn health(&self, agent: &AgentIdentity, session: u64, health: Health, now: Instant) -> bool {
        self.with(agent, session, now, |known| known.health = Some(health))
    }

    pub(crate) fn progress(&self, agent: &AgentIdentity, session: u64, progress: DatasetProgress, now: Instant) -> bool {
        self.with(agent, session, now, |known| {
            if known.reports.len() < MOST || known.reports.contains_key(&progress.uid) {
                known.released.remove(&progress.uid);
                known.reports.insert(progress.uid.clone(), (progress, now));
            }
        })
    }

    pub(crate) fn released(&self, agent: &AgentIdentity, session: u64, uid: &str, now: Instant) -> bool {
        self.with(agent, session, now, |known| {
            known.reports.remove(uid);
            if known.released.len() < MOST {
                known.released.insert(uid.to_owned());
            }
        })
    }

    fn with(&self, agent: &AgentIdentity, session: u64, now: Instant, change: impl FnOnce(&mut Agent)) -> bool {
        let mut agents = self.agents();
        let Some(known) = agents.get_mut(agent).filter(|known| known.session == session) else { return false };
        known.last = now;
        known.counted = true;
        change(known);
        true
    }

    /// The agents of a runtime that answer, by node.
    pub(crate) fn live(&self, runtime: &str, now: Instant) -> Vec<Live> {
        let agents = self.agents();
        let mut live: Vec<Live> = agents
            .iter()
            .filter(|(agent, known)| &agent.runtime == runtime && known.answers(now))
            .map(|(agent, known)| Live {
                node: agent.node.as_str().to_owned(),
                pod: known.hello.pod_name.clone(),
                version: known.hello.version.clone(),
                health: known.health.clone(),
                mounts: known.reports.values().map(|(report, _)| report.mounts).sum(),
                datasets: known.reports.keys().cloned().collect(),
                settled: now.saturating_duration_since(known.since) >= SETTLED,
            })
            .collect();
        live.sort_by(|a, b| a.node.cmp(&b.node));
        live
    }

    /// What the agents of a runtime that answer say of a Dataset, by node.
    pub(crate) fn reports(&self, runtime: &str, uid: &str, now: Instant) -> BTreeMap<String, DatasetProgress> {
        let agents = self.agents();
        let of_runtime = agents.iter().filter(|(agent, known)| &agent.runtime == runtime && known.answers(now));
        of_runtime
            .filter_map(|(agent, known)| {
                let (report, at) = known.reports.get(uid)?;
                known.current(*at, now).then(|| (agent.node.as_str().to_owned(), report.clone()))
            })
            .collect()
    }

    /// What one agent says of these Datasets, by uid, or nothing of those that it has not. `None`: it does not answer, or does
    /// not serve yet.
    pub(crate) fn statuses(
        &self,
        runtime: &str,
        node: &str,
        uids: &[&str],
        now: Instant,
    ) -> Option<BTreeMap<String, DatasetStatus>> {
        let agent = AgentIdentity { runtime: runtime.parse().ok()?, node: node.parse().ok()? };
        let agents = self.agents();
        let known = agents.get(&agent).filter(|known| known.answers(now) && known.health.is_some())?;
        let status = |uid: &&str| {
            let (report, at) = known.reports.get(*uid)?;
            known.current(*at, now).then(|| ((*uid).to_owned(), report.report.status.clone()))
        };
        Some(uids.iter().filter_map(status).collect())
    }

    /// Bytes of a Dataset that the agents of a runtime that answer have cached, by node; those that have none are left out.
    pub(crate) fn cached(&self, runtime: &str, uid: &str, now: Instant) -> Vec<(String, u64)> {
        let agents = self.agents();
        let of_runtime = agents.iter().filter(|(agent, known)| &agent.runtime == runtime && known.answers(now));
        let bytes = of_runtime.filter_map(|(agent, known)| {
            let (report, at) = known.reports.get(uid).filter(|(report, _)| report.report.status.cache.bytes > 0)?;
            known.current(*at, now).then(|| (agent.node.as_str().to_owned(), report.report.status.cache.bytes))
        });
        bytes.collect()
    }

    /// The nodes whose agents, of whatever runtime, answer and still have a Dataset.
    pub(crate) fn holding(&self, uid: &str, now: Instant) -> BTreeSet<String> {
        let agents = self.agents();
        let holding = agents.iter().filter(|(_, known)| known.answers(now) && known.reports.contains_key(uid));
        holding.map(|(agent, _)| agent.node.as_str().to_owned()).collect()
    }

    /// Forgets what does not count any more, and reports on what is not in `known`; returns the runtimes whose agents
    /// stopped counting.
    pub(crate) fn sweep(&self, known_uids: &HashSet<String>, now: Instant) -> BTreeSet<String> {
        let mut lost = BTreeSet::new();
        self.agents().retain(|agent, known| {
            let before = known.reports.len();
            let since = known.since;
            known.reports.retain(|uid, (_, at)| {
                known_uids.contains(uid) && (*at >= since || now.saturating_duration_since(since) < INHERITED)
            });
            known.released.retain(|uid| known_uids.contains(uid));
            let answers = known.answers(now);
            if known.reports.len() != before || (known.counted && !answers) {
                lost.insert(agent.runtime.as_str().to_owned());
            }
            known.counted = answers;
            answers || known.connected
        });
        lost
    }

    /// Agents with a session.
    pub(crate) fn connected(&self) -> usize {
        self.agents().values().filter(|known| known.connected).count()
    }
}

impl Agent {
    fn answers(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < SILENCE
    }

    fn current(&self, at: Instant, now: Instant) -> bool {
        at >= self.since || now.saturating_duration_since(self.since) < INHERITED
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn agent(node: &str) -> AgentIdentity {
        AgentIdentity { runtime: "r".parse().unwrap(), node: node.parse().unwrap() }
    }

    fn hello() -> Hello {
        Hello { version: "0".into(), pod_name: "p".into() }
    }

    fn progress(uid: &str) -> DatasetProgress {
        let report = forebay_api::DatasetReport {
            namespace: "ml".into(),
            name: "a".into(),
            at: "/x".into(),
            mounted: true,
            since: std::time::UNIX_EPOCH,
            listing: None,
            status: Default::default(),
            not_native: None,
        };
        DatasetProgress { uid: uid.into(), report, refreshed: None, evicted: None, mounts: 1 }
    }

    #[test]
    fn an_agent_that_is_silent_does_not_count() {
        let registry = Registry::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let session = registry.connect(&agent("n1"), hello(), at(0));
        assert!(registry.progress(&agent("n1"), session, progress("u"), at(1)));
        assert_eq!(registry.reports("r", "u", at(20)).len(), 1);
        assert_eq!(registry.reports("other", "u", at(20)).len(), 0);
        assert_eq!(registry.reports("r", "u", at(21)).len(), 0, "silent for twenty seconds");
        assert!(registry.live("r", at(21)).is_empty());
        let known = HashSet::from(["u".to_owned()]);
        registry.disconnect(&agent("n1"), session);
        assert_eq!(registry.sweep(&known, at(21)), BTreeSet::from(["r".to_owned()]));
        assert_eq!(registry.sweep(&known, at(22)), BTreeSet::new(), "it is told once");
    }

    #[test]
    fn a_new_session_displaces_the_old_one_and_lives_on_its_reports_for_a_while() {
        let registry = Registry::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let old = registry.connect(&agent("n1"), hello(), at(0));
        registry.progress(&agent("n1"), old, progress("u"), at(1));
        let new = registry.connect(&agent("n1"), hello(), at(5));
        assert!(!registry.health(&agent("n1"), old, Health::default(), at(6)), "displaced");
        registry.disconnect(&agent("n1"), old);
        assert!(registry.health(&agent("n1"), new, Health::default(), at(14)));
        assert_eq!(registry.reports("r", "u", at(14)).len(), 1);
        assert_eq!(registry.reports("r", "u", at(15)).len(), 0, "it did not say so itself");
        registry.progress(&agent("n1"), new, progress("u"), at(16));
        assert_eq!(registry.reports("r", "u", at(16)).len(), 1);
    }

    #[test]
    fn one_agent_is_asked_for_what_it_has_and_says_nothing_before_it_serves() {
        let registry = Registry::default();
        let now = Instant::now();
        let session = registry.connect(&agent("n1"), hello(), now);
        let mut said = progress("u");
        said.report.status.cache.bytes = 7;
        registry.progress(&agent("n1"), session, said, now);
        assert_eq!(registry.statuses("r", "n1", &["u"], now), None, "no word of its tiers yet");
        registry.health(&agent("n1"), session, Health::default(), now);
        let statuses = registry.statuses("r", "n1", &["u", "v"], now).unwrap();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), ["u"]);
        assert_eq!(registry.statuses("r", "n2", &["u"], now), None);
        assert_eq!(registry.statuses("r", "n1", &["u"], now + SILENCE), None);
        assert_eq!(registry.cached("r", "u", now), [("n1".to_owned(), 7)]);
        assert_eq!((registry.cached("r", "v", now), registry.cached("other", "u", now)), (vec![], vec![]));
        assert_eq!(registry.cached("r", "u", now + SILENCE), vec![]);
    }

    #[test]
    fn what_was_released_is_not_held() {
        let registry = Registry::default();
        let now = Instant::now();
        let session = registry.connect(&agent("n1"), hello(), now);
        registry.progress(&agent("n1"), session, progress("u"), now);
        assert_eq!(registry.holding("u", now), BTreeSet::from(["n1".to_owned()]));
        registry.released(&agent("n1"), session, "u", now);
        assert!(registry.holding("u", now).is_empty());
        assert!(registry.reports("r", "u", now).is_empty());
    }
}
