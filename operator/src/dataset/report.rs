//! The status, from what was applied and what the agents say: pure.

use std::collections::BTreeMap;

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, HandledStatus, Phase, PrefetchPolicy};
use kube::ResourceExt as _;

use super::apply::Applied;
use super::merge::{Merged, Nodes, merge};
use super::observe::Observed;
use super::validate::{Finding, accepted};
use super::{asked, eviction, release, validate};
use crate::agents::standing::{Standing, Words};
use crate::names;
use crate::pace::News;
use crate::verdict::{Verdict, conditions, find, turned};

pub(super) fn report(observed: &Observed, findings: &[Finding], applied: &Applied, now: Timestamp) -> DatasetStatus {
    let dataset = &*observed.dataset;
    let before = dataset.status.clone().unwrap_or_default();
    let generation = dataset.metadata.generation.unwrap_or(0);
    let reports: BTreeMap<&str, &Standing> = observed.reports.iter().map(|(node, standing)| (&**node, standing)).collect();
    let silent = observed.nodes.iter().any(|node| !reports.contains_key(node.as_str()));
    let nodes = Nodes {
        desired: &observed.nodes,
        reports,
        generation,
        runtime: &dataset.spec.runtime,
        chosen: observed.chosen,
        served_before: before.catalog.generation > 0,
    };
    let unheard = nodes.reports.is_empty();
    let merged = merge(&nodes, &dataset.spec.placement);
    // Agents come over to a new leader within seconds; till then what the former one wrote is truer than their silence.
    // Where nobody served before there is nothing to keep.
    let merged = if observed.settling && silent && before.nodes.ready > 0 { kept(&before, merged) } else { merged };
    let Merged { phase, mut catalog, cache, prefetch, nodes, verdicts } = merged;
    if unheard {
        // The listing is what it was, whoever answers.
        catalog = before.catalog.clone();
    }
    let accepted = accepted(findings, observed);
    let accepted = match find(&before.conditions, accepted.kind) {
        // A new leader has the Secrets to read yet, and that is no news about the Dataset.
        Some(condition) if accepted.holds.is_none() => as_before(accepted, condition),
        _ => accepted,
    };
    let mut all = vec![accepted];
    // At the place that it has when it is said, for another order would be news.
    let former_way = way_as_before(&before, &verdicts);
    all.extend(verdicts.into_iter().chain(former_way));
    let (claim, bound) = claim(observed, applied);
    all.push(bound);
    all.extend(applied.stage.as_ref().and_then(release::verdict));
    let mut status = DatasetStatus {
        observed_generation: Some(generation),
        phase: judged(phase, findings),
        conditions: conditions(&before.conditions, all, Some(generation), now),
        catalog,
        cache,
        prefetch,
        first_used_at: first_used_at(observed),
        nodes,
        claim,
        handled: handled(observed, before.handled),
        summary: Default::default(),
    };
    status.summarize();
    status
}

/// What of a status is to be written before mere numbers are.
pub(super) fn news(before: &DatasetStatus, after: &DatasetStatus) -> News {
    let numbers_only = before.observed_generation == after.observed_generation
        && before.phase == after.phase
        && before.nodes == after.nodes
        && before.claim == after.claim
        && before.handled == after.handled
        && before.first_used_at == after.first_used_at
        && before.catalog.generation == after.catalog.generation
        && !turned(&before.conditions, &after.conditions);
    if numbers_only { News::Numbers } else { News::Turn }
}

/// A wish is handled when the agent of each node says so; nodes that come later begin with what the wish asked for.
fn handled(observed: &Observed, before: HandledStatus) -> HandledStatus {
    let dataset = &*observed.dataset;
    let newest = |wish: Option<&str>, done: fn(&Words) -> &Option<String>, before: Option<String>| {
        let by_all = |wish: &str| {
            let done_on = |node: &String| {
                observed.reports.get(node.as_str()).is_some_and(|standing| done(&standing.words).as_deref() == Some(wish))
            };
            !observed.nodes.is_empty() && observed.nodes.iter().all(done_on)
        };
        wish.filter(|wish| by_all(wish)).map(str::to_owned).or(before)
    };
    let evict = eviction(dataset).map(|wish| wish.id);
    HandledStatus {
        refresh: newest(asked(dataset, names::REFRESH), |words| &words.refreshed, before.refresh),
        evict: newest(evict.as_deref(), |words| &words.evicted, before.evict),
    }
}

/// Once it is said, it stays for as long as the policy asks: what is cached is not given up because nobody reads it now.
fn first_used_at(observed: &Observed) -> Option<Time> {
    let dataset = &*observed.dataset;
    if dataset.spec.prefetch.policy != PrefetchPolicy::OnFirstUse {
        return None;
    }
    let before = dataset.status.as_ref().and_then(|status| status.first_used_at.clone());
    before.or_else(|| observed.first_use.as_ref().map(|first| Time(first.at)))
}

/// What was written before, in place of what is not known yet.
fn kept(before: &DatasetStatus, new: Merged) -> Merged {
    let Merged { phase: _, catalog: _, cache: _, prefetch: _, nodes: _, verdicts } = new;
    let verdicts = verdicts.into_iter().map(|verdict| match find(&before.conditions, verdict.kind) {
        Some(condition) => as_before(verdict, condition),
        None => verdict,
    });
    Merged {
        phase: before.phase,
        catalog: before.catalog.clone(),
        cache: before.cache.clone(),
        prefetch: before.prefetch.clone(),
        nodes: before.nodes.clone(),
        verdicts: verdicts.collect(),
    }
}

/// How files are read is known while somebody mounts it. What was found then is no less true when the last pod has gone, and no news when the
/// next one comes.
fn way_as_before(before: &DatasetStatus, verdicts: &[Verdict]) -> Option<Verdict> {
    let said = verdicts.iter().any(|verdict| verdict.kind == kind::NATIVE_READS);
    let former = find(&before.conditions, kind::NATIVE_READS).filter(|_| !said)?;
    Some(as_before(Verdict::unknown(kind::NATIVE_READS, "", ""), former))
}

fn as_before(verdict: Verdict, condition: &Condition) -> Verdict {
    let holds = match condition.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    };
    Verdict { holds, reason: condition.reason.clone(), message: condition.message.clone(), ..verdict }
}

/// The phase, with what is wrong with the spec.
fn judged(phase: Phase, findings: &[Finding]) -> Phase {
    let Some(first) = findings.first() else { return phase };
    match phase {
        Phase::Prefetching | Phase::Ready | Phase::Degraded => Phase::Degraded,
        Phase::Pending | Phase::Listing | Phase::Failed => match first.reason {
            reason::INVALID | reason::HOST_PATH_NOT_ALLOWED => Phase::Failed,
            // It comes to be as soon as what is missing does.
            _ => Phase::Pending,
        },
    }
}

fn claim(observed: &Observed, applied: &Applied) -> (Option<String>, Verdict) {
    let name = observed.dataset.name_any();
    if applied.foreign_claim {
        let message = format!(
            "there is a PersistentVolumeClaim {name} in namespace {} that is not this Dataset's: delete it, or give the Dataset another name",
            observed.namespace
        );
        return (None, Verdict::bad(kind::CLAIM_BOUND, reason::CLAIM_EXISTS, message));
    }
    let phase = applied.claim.as_ref().and_then(|claim| claim.status.as_ref()).and_then(|status| status.phase.as_deref());
    match phase {
        Some("Bound") => {
            let message = format!("pods mount it by the PersistentVolumeClaim {name}");
            (Some(name), Verdict::good(kind::CLAIM_BOUND, message))
        }
        Some("Lost") => {
            let message = format!("PersistentVolumeClaim {name} has lost its volume: delete the claim, and it is made anew");
            (None, Verdict::bad(kind::CLAIM_BOUND, reason::CLAIM_PENDING, message))
        }
        _ => {
            let message = format!("PersistentVolumeClaim {name} is not bound yet");
            (None, Verdict::bad(kind::CLAIM_BOUND, reason::CLAIM_PENDING, message))
        }
    }
}

/// Everything wrong, for the status and for the agents' desired state alike.
pub(super) fn findings(observed: &Observed) -> Vec<Finding> {
    validate::validate(observed)
}

#[cfg(test)]
mod tests;
