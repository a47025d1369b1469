use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use forebay_session::Operator;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::words::Known;

/// What the agents of a fleet share, and tell the measurement.
pub(crate) struct Shared {
    pub(crate) datasets: Vec<Known>,
    pub(crate) by_uid: HashMap<String, usize>,
    active: usize,
    changing: usize,
    /// Counts the operator's processes, from 1.
    pub(crate) operator: AtomicUsize,
    /// Agents that this process of the operator has told everything.
    pub(crate) synced: AtomicUsize,
    /// Sessions that began.
    pub(crate) sessions: AtomicUsize,
    /// Messages that were said.
    pub(crate) reports: AtomicU64,
    wanted: Mutex<Wanted>,
}

/// A change whose way to the agents is watched.
#[derive(Debug, Default)]
struct Wanted {
    /// By Dataset.
    generations: HashMap<usize, i64>,
    /// Agents that still have to hear, counted once for each Dataset.
    left: usize,
    last: Option<Instant>,
}

impl Shared {
    /// Whether an agent is fetching a Dataset.
    pub(crate) fn fetches(&self, agent: usize, dataset: usize) -> bool {
        dataset < self.active && (dataset + self.active - agent * self.changing % self.active) % self.active < self.changing
    }

    /// An agent heard of a generation.
    pub(crate) fn got(&self, dataset: usize, before: i64, generation: i64) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.generations.get(&dataset).is_some_and(|wanted| (before + 1..=generation).contains(wanted)) {
            wanted.left = wanted.left.saturating_sub(1);
            wanted.last = Some(Instant::now());
        }
    }
}

/// Agents in this process, each with a connection of its own.
pub(crate) struct Fleet {
    pub(crate) shared: Arc<Shared>,
    agents: usize,
    stops: Vec<CancellationToken>,
    tasks: JoinSet<()>,
}

/// A pod of an agent's and the file of its token.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) token: PathBuf,
}

impl Fleet {
    /// Starts an agent for each pod.
    pub(crate) fn start(datasets: Vec<Known>, pods: &[Pod], url: &str, ca: PathBuf, active: usize, changing: usize) -> Self {
        let by_uid = datasets.iter().enumerate().map(|(index, known)| (known.uid.clone(), index)).collect();
        let shared = Arc::new(Shared {
            datasets,
            by_uid,
            active,
            changing: changing.min(active),
            operator: AtomicUsize::new(1),
            synced: AtomicUsize::default(),
            sessions: AtomicUsize::default(),
            reports: AtomicU64::default(),
            wanted: Mutex::default(),
        });
        let mut fleet = Self { shared, agents: pods.len(), stops: Vec::new(), tasks: JoinSet::new() };
        for (number, pod) in pods.iter().enumerate() {
            let stop = CancellationToken::new();
            let operator = Operator { url: url.to_owned(), ca: ca.clone(), token: pod.token.clone() };
            let agent = Agent::new(number, fleet.shared.clone());
            fleet.tasks.spawn(agent.run(operator, pod.name.clone(), stop.clone()));
            fleet.stops.push(stop);
        }
        fleet
    }

    /// From now on another process of the operator is talked to.
    pub(crate) fn another_operator(&self) {
        self.shared.synced.store(0, Ordering::Release);
        self.shared.operator.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until every agent has been told everything.
    pub(crate) async fn synced(&self, limit: Duration) -> Result<Duration> {
        let begun = Instant::now();
        while self.shared.synced.load(Ordering::Acquire) < self.agents {
            if begun.elapsed() > limit {
                bail!(
                    "{} of {} agents were told everything in {limit:?}",
                    self.shared.synced.load(Ordering::Acquire),
                    self.agents
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(begun.elapsed())
    }

    /// Watches for these generations, by Dataset.
    pub(crate) fn want(&self, generations: HashMap<usize, i64>) {
        let left = generations.len() * self.agents;
        *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Wanted { generations, left, last: None };
    }

    /// Waits until every agent has what is watched for; when the last one got it.
    pub(crate) async fn has_all(&self, limit: Duration) -> Result<Instant> {
        let begun = Instant::now();
        loop {
            {
                let wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                match wanted.last {
                    Some(last) if wanted.left == 0 => return Ok(last),
                    _ if begun.elapsed() > limit => bail!("{} receipts of a change are missing after {limit:?}", wanted.left),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One agent ends without a word, as with its node.
    pub(crate) fn lose(&mut self, agent: usize) {
        self.stops[agent].cancel();
        self.agents -= 1;
    }

    pub(crate) async fn stop(mut self) {
        self.stops.iter().for_each(CancellationToken::cancel);
        while self.tasks.join_next().await.is_some() {}
    }
}
