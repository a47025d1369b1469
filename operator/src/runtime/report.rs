//! The status, from what was applied and what the agents say: pure.

use forebay_crds::conditions::{reason, runtime as kind};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::runtime::TierStatus;
use forebay_crds::values::human;
use forebay_crds::{CacheRuntimeStatus, Medium};

use super::observe::{Observed, PodFacts};
use super::plan::{End, Plan};
use super::validate::Finding;
use crate::names;
use crate::pace::News;
use crate::scale::full_name;
use crate::verdict::{Verdict, conditions, turned};

/// Things of a kind that a message names.
const NAMED: usize = 5;

pub(super) fn report(observed: &Observed, findings: &[Finding], plan: &Plan, now: Timestamp) -> CacheRuntimeStatus {
    let runtime = &*observed.runtime;
    let before = runtime.status.clone().unwrap_or_default();
    let generation = runtime.metadata.generation;
    let present: Vec<&PodFacts> = observed.pods.iter().filter(|pod| !pod.terminating).collect();
    let serving = |pod: &&PodFacts| pod.ready && pod.node.as_ref().is_some_and(|node| plan.chosen.contains(node));
    let ready = present.iter().copied().filter(serving).count();
    let mut verdicts = vec![accepted(findings), fit(observed, plan), self::ready(observed, plan, &present, ready)];
    verdicts.extend(plan.end.as_ref().map(|end| deleted(end, observed)));
    let mut status = CacheRuntimeStatus {
        observed_generation: generation,
        conditions: conditions(&before.conditions, verdicts, generation, now),
        replicas: count(present.len()),
        ready_replicas: count(ready),
        desired_replicas: count(plan.chosen.len()),
        scaled_by: observed.scale.as_deref().map(full_name),
        selector: Some(names::runtime_selector(&observed.name)),
        datasets: count(observed.datasets.len()),
        tiers: if observed.settling && observed.live.len() < ready { before.tiers } else { tiers(observed) },
        summary: Default::default(),
    };
    status.summarize();
    status
}

/// What of a status is to be written before mere numbers are.
pub(super) fn news(before: &CacheRuntimeStatus, after: &CacheRuntimeStatus) -> News {
    let numbers_only = before.observed_generation == after.observed_generation
        && (before.replicas, before.ready_replicas) == (after.replicas, after.ready_replicas)
        && (before.desired_replicas, before.datasets) == (after.desired_replicas, after.datasets)
        && before.scaled_by == after.scaled_by
        && !turned(&before.conditions, &after.conditions);
    if numbers_only { News::Numbers } else { News::Turn }
}

fn accepted(findings: &[Finding]) -> Verdict {
    match findings {
        [] => Verdict::good(kind::ACCEPTED, "the spec is valid"),
        [first, ..] => {
            let all = findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; and ");
            Verdict::bad(kind::ACCEPTED, first.reason, all)
        }
    }
}

fn fit(observed: &Observed, plan: &Plan) -> Verdict {
    if !plan.misfits.is_empty() {
        return Verdict::bad(kind::TIERS_FIT, reason::TIER_DOES_NOT_FIT, named(&plan.misfits, "; "));
    }
    let mut small = Vec::new();
    for live in &observed.live {
        for tier in live.health.iter().flat_map(|health| &health.tiers) {
            let wished = observed.runtime.spec.tiers.iter().find(|wished| *wished.name == *tier.name);
            let Some(wished) = wished.filter(|wished| wished.medium == Medium::Disk) else { continue };
            if tier.fault.is_none() && tier.capacity_bytes < wished.capacity.bytes() {
                small.push(format!(
                    "tier {} has {} on node {} after its reserve, of {} wished: it uses what there is; lower its capacity or its \
                     reserve, or give it a larger disk",
                    tier.name,
                    human(tier.capacity_bytes),
                    live.node,
                    human(wished.capacity.bytes())
                ));
            }
        }
    }
    if small.is_empty() {
        Verdict::good(kind::TIERS_FIT, "the tiers fit on each node")
    } else {
        Verdict::bad(kind::TIERS_FIT, reason::TIER_DOES_NOT_FIT, named(&small, "; "))
    }
}

fn ready(observed: &Observed, plan: &Plan, present: &[&PodFacts], ready: usize) -> Verdict {
    let all = plan.chosen.len();
    if all == 0 {
        let (why, message) = if observed.replicas() == Some(0) {
            let whose = observed.scale.as_deref().map(|scale| format!(" of CacheRuntimeScale {}", full_name(scale)));
            (reason::NO_NODES, format!("spec.replicas{} is 0: no node lends space", whose.unwrap_or_default()))
        } else if plan.misfits.is_empty() {
            let message = "no node matches: see spec.nodeSelector, the nodes' labels, and their taints against spec.tolerations";
            (reason::NO_NODES, message.to_owned())
        } else {
            (reason::TIER_DOES_NOT_FIT, format!("the tiers fit on no node: {}", named(&plan.misfits, "; ")))
        };
        return Verdict::bad(kind::READY, why, message);
    }
    let faults: Vec<String> = observed
        .live
        .iter()
        .flat_map(|live| {
            let tiers = live.health.iter().flat_map(|health| &health.tiers);
            tiers.filter_map(|tier| {
                Some(format!("tier {} on node {} is not used: {}", tier.name, live.node, tier.fault.as_ref()?))
            })
        })
        .collect();
    if !faults.is_empty() {
        return Verdict::bad(kind::READY, reason::TIER_FAULTY, named(&faults, "; "));
    }
    if !plan.held.is_empty() {
        let nodes: Vec<String> = plan.held.iter().cloned().collect();
        let message = format!("{} to lend no more; an agent stays there while pods use its volumes", are(&nodes));
        return Verdict::bad(kind::READY, reason::IN_USE, message);
    }
    if !plan.handing.is_empty() {
        let nodes: Vec<String> = plan.handing.iter().cloned().collect();
        let message =
            format!("{} to lend no more; the others take over what is kept there, for ten minutes at most", are(&nodes));
        return Verdict::bad(kind::READY, reason::RELEASING, message);
    }
    if !plan.leaving.is_empty() {
        let nodes: Vec<String> = plan.leaving.iter().cloned().collect();
        return Verdict::bad(kind::READY, reason::RELEASING, format!("{} giving back what is cached there", are(&nodes)));
    }
    if ready == all {
        return Verdict::good(kind::READY, format!("{all} of {all} agents serve"));
    }
    let troubles: Vec<String> = present
        .iter()
        .filter_map(|pod| {
            Some(format!("pod {} for node {}: {}", pod.name, pod.node.as_deref().unwrap_or("?"), pod.trouble.as_ref()?))
        })
        .collect();
    let counted = format!("{ready} of {all} agents serve");
    if troubles.is_empty() {
        Verdict::bad(kind::READY, reason::STARTING, format!("{counted}; the others are starting"))
    } else {
        Verdict::bad(kind::READY, reason::NODES_MISSING, format!("{counted}; {}", named(&troubles, "; ")))
    }
}

fn deleted(end: &End, observed: &Observed) -> Verdict {
    let named_by = if observed.datasets.is_empty() {
        String::new()
    } else {
        format!(
            "; Datasets that still name it lose their cache and wait for another runtime: {}",
            named(&observed.datasets, ", ")
        )
    };
    let (reason, message) = match end {
        End::InUse(nodes) => {
            let nodes: Vec<String> = nodes.iter().cloned().collect();
            let message =
                format!("waiting for pods that use its volumes on {}: delete them, or let them end", named(&nodes, ", "));
            (reason::IN_USE, message)
        }
        End::Releasing(nodes) => {
            let nodes: Vec<String> = nodes.iter().cloned().collect();
            (reason::RELEASING, format!("{} giving back what is cached, for a minute at most", are(&nodes)))
        }
        End::Stopping(pods) => (reason::RELEASING, format!("its DaemonSet is being deleted, {pods} pods are left")),
        End::Over => (reason::RELEASING, "nothing is left".to_owned()),
    };
    Verdict::bad(kind::DELETED, reason, format!("{message}{named_by}"))
}

fn tiers(observed: &Observed) -> Vec<TierStatus> {
    let of = |name: &str| {
        let mut sum = TierStatus { name: name.to_owned(), ..TierStatus::default() };
        for tier in observed.live.iter().flat_map(|live| live.health.iter().flat_map(|health| &health.tiers)) {
            if tier.name == name {
                sum.capacity_bytes = sum.capacity_bytes.saturating_add(tier.capacity_bytes);
                sum.used_bytes = sum.used_bytes.saturating_add(tier.used_bytes);
                sum.pinned_bytes = sum.pinned_bytes.saturating_add(tier.pinned_bytes);
            }
        }
        sum
    };
    observed.runtime.spec.tiers.iter().map(|tier| of(&tier.name)).collect()
}

fn named(list: &[String], by: &str) -> String {
    let shown = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(by);
    if list.len() > NAMED { format!("{shown}{by}and {} more", list.len() - NAMED) } else { shown }
}

fn are(nodes: &[String]) -> String {
    let names = named(nodes, ", ");
    if nodes.len() == 1 { format!("node {names} is") } else { format!("nodes {names} are") }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
