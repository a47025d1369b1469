//! Which nodes lend space: pure.

use std::collections::BTreeSet;

use forebay_crds::CacheRuntimeSpec;
use forebay_crds::k8s::Toleration;

use super::observe::{NodeFacts, marks_removal};
use crate::{hash, names};

/// A node that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    pub(super) ready: bool,
    /// Cordoned, or about to go in another way: new agents go elsewhere, as new pods do, and of those that have an agent others
    /// are kept before it.
    pub(super) cordoned: bool,
    /// An agent is there already.
    pub(super) has: bool,
    /// It was not chosen last, so that others may have taken over its part already.
    pub(super) dropped: bool,
    /// Pods there use volumes.
    pub(super) busy: bool,
}

/// The nodes that a runtime's spec allows.
pub(super) fn matches(spec: &CacheRuntimeSpec, node: &NodeFacts) -> bool {
    let labelled = spec.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let tainted = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule").any(|taint| {
        // Kubernetes itself gives a DaemonSet's pods tolerations for these, and the operator one for its own. An autoscaler's
        // mark takes no pod away: an agent that is there stays, so that others can take over what it alone keeps.
        taint.key != names::WARMING
            && !taint.key.starts_with("node.kubernetes.io/")
            && !marks_removal(taint)
            && !spec.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    });
    labelled && !tainted
}

fn tolerates(toleration: &Toleration, taint: &k8s_openapi::api::core::v1::Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let effect = toleration.effect.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || toleration.value.clone().unwrap_or_default() == taint.value.clone().unwrap_or_default())
}

/// At most `replicas` of the candidates; all of them without a bound.
///
/// Nodes that have an agent stay: those that were chosen last before others, for the part of those is being moved; of these,
/// those where pods use it before others; of these, those that are not about to go. The rest come by rendezvous hash, so that
/// the choice for one runtime is the same whatever order nodes came in, and another runtime's is spread otherwise. A node that
/// is not ready is kept only where no other can take its place.
pub(super) fn choose(runtime: &str, candidates: &[Candidate<'_>], replicas: Option<u32>) -> BTreeSet<String> {
    let Some(replicas) = replicas else { return candidates.iter().map(|node| node.name.to_owned()).collect() };
    let mut ranked: Vec<(u8, bool, bool, bool, u64, &str)> = candidates
        .iter()
        .filter(|node| node.has || (node.ready && !node.cordoned))
        .map(|node| {
            let class = match (node.has, node.ready) {
                (true, true) => 0,
                (false, _) => 1,
                (true, false) => 2,
            };
            (class, node.dropped, !node.busy, node.cordoned, u64::MAX - rank(runtime, node.name), node.name)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(replicas as usize).map(|(.., name)| name.to_owned()).collect()
}

/// The greater, the sooner chosen.
fn rank(runtime: &str, node: &str) -> u64 {
    hash::stable(&[runtime.as_bytes(), node.as_bytes()])
}
