//! What there is to be: pure, and without a client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt as _;

use super::choose::{Candidate, choose, matches};
use super::daemon_set::{Nodes, Settings, daemon_set, hash_of};
use super::fit::misfit;
use super::observe::{NodeFacts, Observed, PodFacts};
use super::validate::Finding;
use crate::agents::registry::Live;
use crate::names;

/// How long an agent that is to go may take to let go of its Datasets once no pod uses them, and the agents of a runtime that is
/// being deleted.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long an agent that is to go stays for the others to take over what it alone keeps, at most.
const HAND_OVER: Duration = Duration::from_secs(600);
/// And at least: what the others have said before they were told does not count, and of a thousand the last may be told late. Longer than an
/// agent counts that says nothing.
const TOLD: Duration = Duration::from_secs(30);

/// What is to be done for a CacheRuntime.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The finalizer is missing.
    pub(super) finalizer: bool,
    /// As it is to be; `None`: it is to go, or not to come.
    pub(super) daemon_set: Option<Box<DaemonSet>>,
    /// Nodes that are to have an agent.
    pub(super) chosen: BTreeSet<String>,
    /// Nodes that have one, and keep it until it has let go of everything.
    pub(super) leaving: BTreeSet<String>,
    /// Nodes that have one, are not chosen and not held: others keep their part from now on.
    pub(super) going: BTreeSet<String>,
    /// Those whose agents are to let go of everything, for as long as they are there.
    pub(super) unwanted: BTreeSet<String>,
    /// Leaving nodes that wait for pods that use volumes there.
    pub(super) held: BTreeSet<String>,
    /// Leaving nodes that wait for the others to take over what they keep.
    pub(super) handing: BTreeSet<String>,
    /// Why nodes that match are not chosen.
    pub(super) misfits: Vec<String>,
    /// Pods of an older make that are to be made anew now.
    pub(super) outdated: Vec<PodFacts>,
    /// Of one that is being deleted: where its end stands.
    pub(super) end: Option<End>,
}

/// Where the end of a CacheRuntime stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Pods use its volumes on these nodes: their reads would hang without an agent, so that their end is waited for.
    InUse(BTreeSet<String>),
    /// Its agents are to let go of their Datasets; these have not yet.
    Releasing(BTreeSet<String>),
    /// Its DaemonSet is being deleted; so many pods are left.
    Stopping(usize),
    /// Nothing is left but the finalizer.
    Over,
}

pub(super) fn plan(observed: &Observed, findings: &[Finding], settings: &Settings) -> Plan {
    let spec = &observed.runtime.spec;
    let finalizer = !observed.runtime.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER);
    let mut plan = Plan {
        finalizer: finalizer && observed.ending.is_none(),
        daemon_set: None,
        chosen: BTreeSet::new(),
        leaving: BTreeSet::new(),
        going: BTreeSet::new(),
        unwanted: BTreeSet::new(),
        held: BTreeSet::new(),
        handing: BTreeSet::new(),
        misfits: Vec::new(),
        outdated: Vec::new(),
        end: None,
    };
    if let Some(asked) = observed.ending {
        plan.end = Some(end(observed, asked));
        return plan;
    }
    if !findings.is_empty() {
        // What runs goes on as it is: an edit that is wrong takes no cache away.
        plan.chosen = with_agent(observed);
        return plan;
    }
    let has = with_agent(observed);
    let by_node: BTreeMap<&str, &Live> = observed.live.iter().map(|live| (live.node.as_str(), live)).collect();
    let matching: Vec<&NodeFacts> = observed.nodes.iter().filter(|node| matches(spec, node)).collect();
    let removed = observed.nodes.iter().filter(|node| node.is_marked_for_removal());
    let removed: BTreeSet<&str> = removed.map(|node| node.name.as_str()).collect();
    let with_pod: BTreeSet<&str> = observed.pods.iter().filter_map(|pod| pod.node.as_deref()).collect();
    let mut candidates = Vec::new();
    for node in &matching {
        if let Some(why) = misfit(&spec.tiers, settings.memory, node) {
            plan.misfits.push(why);
            continue;
        }
        // The agents' DaemonSet does not tolerate the autoscaler's mark: the pod that is there stays, and none comes.
        if removed.contains(node.name.as_str()) && !with_pod.contains(node.name.as_str()) {
            continue;
        }
        candidates.push(Candidate {
            name: &node.name,
            ready: node.ready,
            cordoned: node.is_leaving(),
            has: has.contains(&node.name),
            dropped: observed.chosen.as_ref().is_some_and(|chosen| !chosen.contains(&node.name)),
            busy: by_node.get(node.name.as_str()).is_some_and(|live| live.mounts > 0),
        });
    }
    plan.chosen = choose(&observed.name, &candidates, observed.replicas());
    // Those that are drained take nothing over, and those that are down cannot say so.
    let can_take = matching.iter().filter(|node| node.ready && !node.is_leaving() && plan.chosen.contains(&node.name));
    let staying: BTreeSet<String> = can_take.map(|node| node.name.clone()).collect();
    for live in observed.live.iter().filter(|live| !plan.chosen.contains(&live.node)) {
        if live.mounts > 0 {
            plan.held.insert(live.node.clone());
            plan.leaving.insert(live.node.clone());
        } else if holds(live) && hands_over(observed, &live.node, &staying) {
            plan.handing.insert(live.node.clone());
        } else if holds(live) && observed.asked.get(&live.node).is_none_or(|asked| *asked < PATIENCE) {
            plan.leaving.insert(live.node.clone());
        }
    }
    let silent = silent(observed);
    // Also one that is being restarted, and does not answer since.
    for node in has.iter().filter(|node| !plan.chosen.contains(*node) && !by_node.contains_key(node.as_str())) {
        if hands_over(observed, node, &staying) {
            plan.handing.insert(node.clone());
        } else if silent.contains(node) && observed.asked.get(node).is_none_or(|asked| *asked < PATIENCE) {
            plan.leaving.insert(node.clone());
        }
    }
    plan.leaving.extend(plan.handing.iter().cloned());
    if observed.settling {
        // Agents that have not come over yet may hold Datasets, and pods may use them.
        let silent = |node: &&String| !plan.chosen.contains(*node) && !by_node.contains_key(node.as_str());
        let silent: Vec<String> = has.iter().filter(silent).cloned().collect();
        plan.held.extend(silent.iter().cloned());
        plan.leaving.extend(silent);
    }
    let there = observed.live.iter().map(|live| live.node.clone()).chain(has);
    // Agents that pods depend on go when these have gone, and are told to let go when no other agent depends on them.
    plan.going = there.filter(|node| !plan.chosen.contains(node) && !plan.held.contains(node)).collect();
    plan.unwanted = plan.going.difference(&plan.handing).cloned().collect();
    let nodes = if observed.replicas().is_none() && plan.misfits.is_empty() && plan.leaving.is_empty() {
        Nodes::Matching
    } else {
        Nodes::Named(plan.chosen.union(&plan.leaving).cloned().collect())
    };
    let set = daemon_set(&observed.runtime, &observed.name, &nodes, settings);
    // One that is made anew may be away for too long to hand over anything, and on a node that an autoscaler removes none comes
    // in its place.
    let is_kept = |node: &String| plan.handing.contains(node) || removed.contains(node.as_str());
    let pods: Vec<&PodFacts> = observed.pods.iter().filter(|pod| !pod.node.iter().any(is_kept)).collect();
    plan.outdated = outdated(&pods, hash_of(&set));
    plan.daemon_set = Some(Box::new(set));
    plan
}

/// Nodes with an agent that is not on its way out.
fn with_agent(observed: &Observed) -> BTreeSet<String> {
    observed.pods.iter().filter(|pod| !pod.terminating).filter_map(|pod| pod.node.clone()).collect()
}

/// Whether the agent has Datasets, or has not had the time to say so.
fn holds(live: &Live) -> bool {
    live.datasets > 0 || !live.settled
}

/// Whether an agent that is to go may have what those that stay have yet to take over. One that was told to let go is not called back.
fn hands_over(observed: &Observed, node: &str, staying: &BTreeSet<String>) -> bool {
    let going = observed.going.get(node).copied().unwrap_or_default();
    let is_awaited = || going < TOLD || observed.settling || !observed.complete.is_superset(staying);
    observed.shared && !staying.is_empty() && !observed.asked.contains_key(node) && going < HAND_OVER && is_awaited()
}

/// Nodes whose agent serves, as kubelet sees it, and does not answer here (yet): what it holds is not known.
fn silent(observed: &Observed) -> BTreeSet<String> {
    let serving = observed.pods.iter().filter(|pod| pod.ready && !pod.terminating).filter_map(|pod| pod.node.clone());
    let live: BTreeSet<&str> = observed.live.iter().map(|live| live.node.as_str()).collect();
    serving.filter(|node| !live.contains(node.as_str())).collect()
}

fn end(observed: &Observed, asked: Duration) -> End {
    let used: BTreeSet<String> = observed.live.iter().filter(|live| live.mounts > 0).map(|live| live.node.clone()).collect();
    if !used.is_empty() {
        return End::InUse(used);
    }
    let mut holding: BTreeSet<String> = observed.live.iter().filter(|live| holds(live)).map(|live| live.node.clone()).collect();
    holding.extend(silent(observed));
    let late = asked >= PATIENCE;
    if !holding.is_empty() && !late {
        return End::Releasing(holding);
    }
    // Twice as late is too late for anything: pods of a node that is gone never end.
    if (observed.daemon_set.is_some() || !observed.pods.is_empty()) && asked < PATIENCE * 2 {
        return End::Stopping(observed.pods.len());
    }
    End::Over
}

/// Pods to be made anew now: a tenth of them at a time, at least one, those that do not serve first; none while others are
/// on their way.
fn outdated(pods: &[&PodFacts], hash: Option<&String>) -> Vec<PodFacts> {
    let old = |pod: &&PodFacts| !pod.terminating && pod.made_from.as_ref() != hash;
    let down = pods.iter().filter(|pod| pod.terminating || (!pod.ready && !old(pod))).count();
    let at_once = (pods.len() / 10).max(1);
    let mut old: Vec<&PodFacts> = pods.iter().copied().filter(old).collect();
    old.sort_by_key(|pod| pod.ready);
    let broken = old.iter().filter(|pod| !pod.ready).count();
    old.into_iter().take(at_once.saturating_sub(down).max(broken.min(at_once))).cloned().collect()
}
