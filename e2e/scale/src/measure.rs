use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::audit::{Audit, Requests};
use crate::fleet::Fleet;
use crate::lab::Lab;
use crate::{objects, say};

/// For what no measurement waits longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// Changes of one Dataset after another.
const CHANGES: usize = 5;
/// An agent that was lost is missed after this time and a little more.
const MISSED: Duration = Duration::from_secs(25);

/// What is asked of the operator.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Load {
    pub(crate) agents: usize,
    pub(crate) datasets: usize,
    /// Over which writes and processor time are counted.
    pub(crate) window: Duration,
    /// Datasets that are being fetched.
    pub(crate) active: usize,
    /// Of these, on each agent.
    pub(crate) changing: usize,
}

/// The figures of one size. Times in seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) load: Load,
    /// From the start of the agents until each was told everything.
    pub(crate) told: f64,
    /// From then until each Dataset's status counts every node.
    pub(crate) settled: f64,
    /// All requests from the first object until then.
    pub(crate) start: Requests,
    /// While nothing changes but how far the active Datasets are.
    pub(crate) steady: Steady,
    /// From a change of a Dataset to the last agent that has it; each of some, in order.
    pub(crate) change: Vec<f64>,
    /// The same for a change of all Datasets at once; none where there is but one.
    pub(crate) change_of_all: f64,
    pub(crate) restart: Restart,
    pub(crate) lost: Lost,
    /// Greatest resident memory of the operator's first process.
    pub(crate) peak_bytes: u64,
}

/// What the operator costs while nothing happens but progress.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Steady {
    pub(crate) requests: Requests,
    pub(crate) writes_a_second: f64,
    /// Processor seconds a second.
    pub(crate) cpu: f64,
    /// What the agents said, a second.
    pub(crate) reports_a_second: f64,
}

/// The operator ends and another process takes over.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restart {
    /// From the signal until the new process leads.
    pub(crate) leads: f64,
    /// From then until each agent has been told everything again.
    pub(crate) back: f64,
    /// From the signal until a window after that.
    pub(crate) requests: Requests,
    /// Processor seconds of the new process till then.
    pub(crate) cpu: f64,
    pub(crate) peak_bytes: u64,
}

/// One agent goes without a word.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lost {
    /// Until a window after it was missed.
    pub(crate) requests: Requests,
    pub(crate) writes_a_second: f64,
}

/// Measures one size on a control plane of its own.
pub(crate) async fn run(program: &Path, network: u8, load: &Load) -> Result<Row> {
    let mut lab = Lab::start(program, network).await?;
    lab.start_operator()?;
    let (begun, audit) = (Timestamp::now(), lab.audit());
    let pods = objects::nodes(&lab, load.agents).await?;
    let datasets = objects::datasets(&lab.client, load.datasets).await?;
    let ca = objects::authority(&lab).await?;
    say("  nodes, pods and Datasets are made");
    let mut fleet = Fleet::start(datasets, &pods, &lab.url(), ca, load.active, load.changing);
    let told = fleet.synced(PATIENCE).await.with_context(|| lab.warnings())?.as_secs_f64();
    say(&format!("  all agents were told everything in {told:.1} s"));
    let settled = settle(&lab, load).await?;
    say(&format!("  each Dataset's status counts every node after {settled:.1} s more"));
    let start = audit.between(begun, Timestamp::now())?;
    let steady = steady(&lab, &audit, &fleet, load).await?;
    let (change, change_of_all) = change(&lab, &fleet).await?;
    say(&format!("  a change of all Datasets reached all agents in {change_of_all:.1} s"));
    settle(&lab, load).await?;
    let peak_bytes = lab.cost()?.peak_bytes;
    let restart = restart(&mut lab, &audit, &fleet, load).await?;
    say(&format!("  after a restart all agents are back in {:.1} s", restart.back));
    let lost = lose(&audit, &mut fleet, load).await?;
    fleet.stop().await;
    lab.stop()?;
    Ok(Row { load: load.clone(), told, settled, start, steady, change, change_of_all, restart, lost, peak_bytes })
}

async fn settle(lab: &Lab, load: &Load) -> Result<f64> {
    let begun = Instant::now();
    loop {
        let told = objects::told(&lab.client, load.agents).await?;
        if told == load.datasets {
            return Ok(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() > PATIENCE {
            bail!("the status of {told} of {} Datasets counts every node after {PATIENCE:?}: {}", load.datasets, lab.warnings());
        }
        // A list of many Datasets costs the API server something, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn steady(lab: &Lab, audit: &Audit, fleet: &Fleet, load: &Load) -> Result<Steady> {
    let (from, before) = (Timestamp::now(), lab.cost()?);
    let said = fleet.shared.reports.load(Ordering::Relaxed);
    tokio::time::sleep(load.window).await;
    let requests = audit.between(from, Timestamp::now())?;
    let (after, seconds) = (lab.cost()?, load.window.as_secs_f64());
    Ok(Steady {
        writes_a_second: requests.written() as f64 / seconds,
        requests,
        cpu: (after.cpu_seconds - before.cpu_seconds) / seconds,
        reports_a_second: (fleet.shared.reports.load(Ordering::Relaxed) - said) as f64 / seconds,
    })
}

async fn change(lab: &Lab, fleet: &Fleet) -> Result<(Vec<f64>, f64)> {
    let datasets = &fleet.shared.datasets;
    let mut generations: HashMap<usize, i64> = (0..datasets.len()).map(|index| (index, 1)).collect();
    let mut took = Vec::new();
    for round in 0..CHANGES {
        let index = round * datasets.len() / CHANGES;
        let generation = generations.entry(index).or_insert(1);
        *generation += 1;
        fleet.want(HashMap::from([(index, *generation)]));
        let begun = Instant::now();
        objects::change(&lab.client, &datasets[index], round as u32).await?;
        let accepted = begun.elapsed().as_secs_f64();
        let last = (fleet.has_all(PATIENCE).await? - begun).as_secs_f64();
        say(&format!("  a change, accepted in {accepted:.2} s, reached all agents in {last:.2} s"));
        took.push(last);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    generations.values_mut().for_each(|generation| *generation += 1);
    fleet.want(generations);
    let begun = Instant::now();
    let changed = futures::future::join_all(datasets.iter().map(|known| objects::change(&lab.client, known, u32::MAX)));
    changed.await.into_iter().collect::<Result<()>>()?;
    let of_all = (fleet.has_all(PATIENCE).await? - begun).as_secs_f64();
    Ok((took, of_all))
}

async fn restart(lab: &mut Lab, audit: &Audit, fleet: &Fleet, load: &Load) -> Result<Restart> {
    let (from, begun) = (Timestamp::now(), Instant::now());
    lab.stop_operator()?;
    fleet.another_operator();
    lab.start_operator()?;
    let leads = begun.elapsed().as_secs_f64();
    let back = fleet.synced(PATIENCE).await.with_context(|| lab.warnings())?.as_secs_f64();
    tokio::time::sleep(load.window).await;
    let cost = lab.cost()?;
    let requests = audit.between(from, Timestamp::now())?;
    Ok(Restart { leads, back, requests, cpu: cost.cpu_seconds, peak_bytes: cost.peak_bytes })
}

async fn lose(audit: &Audit, fleet: &mut Fleet, load: &Load) -> Result<Lost> {
    fleet.lose(load.agents - 1);
    tokio::time::sleep(MISSED - Duration::from_secs(5)).await;
    let from = Timestamp::now();
    let counted = Duration::from_secs(5) + load.window;
    tokio::time::sleep(counted).await;
    let requests = audit.between(from, Timestamp::now())?;
    Ok(Lost { writes_a_second: requests.written() as f64 / counted.as_secs_f64(), requests })
}
