use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use forebay_api::session::{DatasetProgress, Health, Hello};
use tokio::time::Instant;

use super::super::standing::{Said, Standing};
use super::born::born;
use super::{INHERITED, LATE, Live, MOST, SETTLED, SILENCE};

/// The agents of one runtime. What they say is kept by Dataset, since it is read so; each agent keeps only counts of it, so that
/// none of what is done every second goes through all reports.
#[derive(Debug, Default)]
pub(super) struct Agents {
    /// The number of each node's agent.
    by_node: HashMap<Arc<str>, u32>,
    agents: BTreeMap<u32, Agent>,
    next: u32,
    /// By uid.
    datasets: HashMap<String, Heard>,
}

#[derive(Debug)]
struct Agent {
    node: Arc<str>,
    session: u32,
    connected: bool,
    hello: Hello,
    last: Instant,
    /// What it says counts as current from here; what it said before, for a while.
    since: Instant,
    /// Whether reports of a former session may be left.
    inherits: bool,
    health: Option<Health>,
    /// Since when its node may have had data, in seconds since 1970.
    born: Option<u64>,
    /// Datasets that it said something of, and mounts of them.
    datasets: usize,
    mounts: u32,
    /// Whether it was last found to answer.
    counted: bool,
}

/// What is said of one Dataset.
#[derive(Debug, Default)]
struct Heard {
    said: Said,
    /// By agent.
    by_agent: BTreeMap<u32, Report>,
}

#[derive(Debug)]
struct Report {
    standing: Standing,
    mounts: u32,
    /// The session in which it was said.
    session: u32,
}

impl Agents {
    pub(super) fn connect(&mut self, node: &str, hello: Hello, now: Instant) -> u32 {
        if let Some(agent) = self.by_node.get(node).and_then(|number| self.agents.get_mut(number)) {
            agent.session = agent.session.wrapping_add(1);
            (agent.connected, agent.hello, agent.last, agent.since) = (true, hello, now, now);
            (agent.inherits, agent.counted) = (true, true);
            return agent.session;
        }
        let node: Arc<str> = node.into();
        let agent = Agent {
            node: node.clone(),
            session: 1,
            connected: true,
            hello,
            last: now,
            since: now,
            inherits: false,
            health: None,
            born: None,
            datasets: 0,
            mounts: 0,
            counted: true,
        };
        self.by_node.insert(node, self.next);
        self.agents.insert(self.next, agent);
        self.next += 1;
        1
    }

    fn of(&mut self, node: &str, session: u32) -> Option<(u32, &mut Agent)> {
        let number = *self.by_node.get(node)?;
        let agent = self.agents.get_mut(&number).filter(|agent| agent.session == session)?;
        Some((number, agent))
    }

    /// The number of the agent that spoke; `None`: another session has displaced this one.
    fn spoke(&mut self, node: &str, session: u32, now: Instant) -> Option<(u32, &mut Agent)> {
        let (number, agent) = self.of(node, session)?;
        (agent.last, agent.counted) = (now, true);
        Some((number, agent))
    }

    pub(super) fn disconnect(&mut self, node: &str, session: u32) {
        if let Some((_, agent)) = self.of(node, session) {
            agent.connected = false;
        }
    }

    pub(super) fn health(&mut self, node: &str, session: u32, health: Health, says: Option<u64>, now: Instant) -> bool {
        let Some((_, agent)) = self.spoke(node, session, now) else { return false };
        (agent.health, agent.born) = (Some(health), born(agent.born, says));
        true
    }

    pub(super) fn progress(&mut self, node: &str, session: u32, progress: DatasetProgress, now: Instant) -> bool {
        let Some((number, agent)) = self.spoke(node, session, now) else { return false };
        let full = agent.datasets >= MOST;
        let has = self.datasets.get(&progress.uid).is_some_and(|heard| heard.by_agent.contains_key(&number));
        if full && !has {
            return true;
        }
        let mounts = progress.mounts;
        let heard = match self.datasets.get_mut(&progress.uid) {
            Some(heard) => heard,
            None => self.datasets.entry(progress.uid.clone()).or_default(),
        };
        let standing = heard.said.standing(progress);
        let former = heard.by_agent.insert(number, Report { standing, mounts, session });
        if let Some(agent) = self.agents.get_mut(&number) {
            agent.forget(former.as_ref());
            agent.datasets += 1;
            agent.mounts = agent.mounts.saturating_add(mounts);
        }
        true
    }

    pub(super) fn released(&mut self, node: &str, session: u32, uid: &str, now: Instant) -> bool {
        let Some((number, _)) = self.spoke(node, session, now) else { return false };
        let report = self.datasets.get_mut(uid).and_then(|heard| heard.by_agent.remove(&number));
        if let Some(agent) = self.agents.get_mut(&number) {
            agent.forget(report.as_ref());
        }
        true
    }

    pub(super) fn live(&self, now: Instant) -> Vec<Live> {
        let answering = self.agents.values().filter(|agent| agent.answers(now));
        let mut live: Vec<Live> = answering
            .map(|agent| Live {
                node: agent.node.to_string(),
                pod: agent.hello.pod_name.clone(),
                version: agent.hello.version.clone(),
                health: agent.health.clone(),
                mounts: agent.mounts,
                datasets: agent.datasets,
                settled: now.saturating_duration_since(agent.since) >= SETTLED,
                late: now.saturating_duration_since(agent.last) >= LATE,
                born: agent.born,
            })
            .collect();
        live.sort_by(|a, b| a.node.cmp(&b.node));
        live
    }

    /// What the agents that answer say of a Dataset.
    fn said(&self, uid: &str, now: Instant) -> impl Iterator<Item = (&Agent, &Report)> {
        let reports = self.datasets.get(uid).into_iter().flat_map(|heard| &heard.by_agent);
        reports.filter_map(move |(number, report)| Some((self.agents.get(number).filter(|agent| agent.answers(now))?, report)))
    }

    /// Of that, what counts, by node.
    fn current(&self, uid: &str, now: Instant) -> impl Iterator<Item = (&Arc<str>, &Standing)> {
        let current = self.said(uid, now).filter(move |(agent, report)| agent.is_current(report, now));
        current.map(|(agent, report)| (&agent.node, &report.standing))
    }

    pub(super) fn reports(&self, uid: &str, now: Instant) -> BTreeMap<Arc<str>, Standing> {
        self.current(uid, now).map(|(node, standing)| (node.clone(), standing.clone())).collect()
    }

    pub(super) fn share_complete(&self, uids: &[String], now: Instant) -> BTreeSet<String> {
        let mut complete: HashSet<&str> =
            self.agents.values().filter(|agent| agent.answers(now)).map(|agent| &*agent.node).collect();
        // What nobody has cached anything of, nobody can hand over.
        for uid in uids.iter().filter(|uid| self.current(uid, now).any(|(_, standing)| standing.cache.bytes > 0)) {
            let says_so = self.current(uid, now).filter(|(_, standing)| standing.words.is_share_complete());
            let says_so: HashSet<&str> = says_so.map(|(node, _)| &**node).collect();
            complete.retain(|node| says_so.contains(node));
            if complete.is_empty() {
                break;
            }
        }
        complete.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn cached(&self, uid: &str, now: Instant) -> Vec<(String, u64)> {
        let bytes = self.current(uid, now).map(|(node, standing)| (node.to_string(), standing.cache.bytes));
        bytes.filter(|(_, bytes)| *bytes > 0).collect()
    }

    pub(super) fn standings(&self, node: &str, uids: &[&str], now: Instant) -> Option<BTreeMap<String, Standing>> {
        let number = self.by_node.get(node)?;
        let agent = self.agents.get(number).filter(|agent| agent.answers(now) && agent.health.is_some())?;
        let said = |uid: &&str| {
            let report = self.datasets.get(*uid)?.by_agent.get(number)?;
            agent.is_current(report, now).then(|| ((*uid).to_owned(), report.standing.clone()))
        };
        Some(uids.iter().filter_map(said).collect())
    }

    pub(super) fn holding(&self, uid: &str, now: Instant) -> BTreeSet<String> {
        self.said(uid, now).map(|(agent, _)| agent.node.to_string()).collect()
    }

    /// Whether an agent stopped counting, or something that one said did.
    pub(super) fn sweep(&mut self, known: &HashSet<String>, now: Instant) -> bool {
        let Self { by_node, agents, next: _, datasets } = self;
        let mut lost = false;
        datasets.retain(|uid, heard| {
            let stays = known.contains(uid);
            if !stays {
                lost |= !heard.by_agent.is_empty();
                for (number, report) in &heard.by_agent {
                    agents.entry(*number).and_modify(|agent| agent.forget(Some(report)));
                }
            }
            stays
        });
        let mut gone = HashSet::new();
        for (number, agent) in &mut *agents {
            let answers = agent.answers(now);
            lost |= agent.counted && !answers;
            agent.counted = answers;
            if !answers && !agent.connected {
                gone.insert(*number);
            }
            if agent.inherits && now.saturating_duration_since(agent.since) >= INHERITED {
                agent.inherits = false;
                for heard in datasets.values_mut() {
                    if heard.by_agent.get(number).is_some_and(|report| report.session != agent.session) {
                        agent.forget(heard.by_agent.remove(number).as_ref());
                        lost = true;
                    }
                }
            }
        }
        if !gone.is_empty() {
            agents.retain(|number, _| !gone.contains(number));
            by_node.retain(|_, number| !gone.contains(number));
            for heard in datasets.values_mut() {
                heard.by_agent.retain(|number, _| !gone.contains(number));
            }
        }
        lost
    }

    pub(super) fn connected(&self) -> usize {
        self.agents.values().filter(|agent| agent.connected).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }
}

impl Agent {
    fn answers(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < SILENCE
    }

    fn is_current(&self, report: &Report, now: Instant) -> bool {
        report.session == self.session || now.saturating_duration_since(self.since) < INHERITED
    }

    /// What it said does not count any more.
    fn forget(&mut self, report: Option<&Report>) {
        if let Some(report) = report {
            self.datasets = self.datasets.saturating_sub(1);
            self.mounts = self.mounts.saturating_sub(report.mounts);
        }
    }
}
