//! Where a pod had better run, by what each node holds of its Datasets: pure.
//!
//! Only preferences, and by labels: the cluster autoscaler leaves preferences out of its simulation, and Karpenter tries them and
//! then drops one after the other, so that few terms are better than many; a term by `matchFields` it does not take at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm};

use crate::hash;
use crate::names::{HOSTNAME, ZONE};

/// Nodes that are named.
pub(super) const NODES: usize = 16;
/// Zones that are named.
const ZONES: usize = 8;
/// Weights come in few steps, so that nodes share terms: at most eight terms for nodes and four for zones.
const NODE_STEPS: u128 = 8;
const NODE_STEP: i32 = 10;
const ZONE_STEPS: u128 = 4;
const ZONE_STEP: i32 = 5;

/// One of the pod's Datasets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Bytes of the tree.
    pub(super) bytes: u64,
    /// Bytes cached, by node.
    pub(super) on: Vec<(String, u64)>,
}

/// A node that takes pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its label `kubernetes.io/hostname`, which need not be its name.
    pub(super) hostname: String,
    pub(super) zone: Option<String>,
}

/// The preferences of a pod with these Datasets; none when they would not help. `places` are all nodes that take pods, by name;
/// `seed` decides between equals, so that pods of many do not all name the same.
pub(super) fn terms(datasets: &[Held], places: &HashMap<String, Place>, seed: &str) -> Vec<PreferredSchedulingTerm> {
    let all: u128 = datasets.iter().map(|held| u128::from(held.bytes)).sum();
    let mut bytes: HashMap<&str, u128> = HashMap::new();
    for held in datasets {
        for (node, on) in held.on.iter().filter(|(node, _)| places.contains_key(node)) {
            // What a node has of older generations makes it no better.
            *bytes.entry(node).or_default() += u128::from((*on).min(held.bytes));
        }
    }
    let steps = |bytes: u128, steps: u128| i32::try_from((bytes * steps).div_ceil(all.max(1))).unwrap_or(0);
    let best = bytes.values().copied().max().unwrap_or(0);
    let as_good = bytes.values().filter(|bytes| steps(**bytes, NODE_STEPS) == steps(best, NODE_STEPS)).count();
    if best == 0 || as_good == places.len() {
        return Vec::new();
    }
    let mut ranked: Vec<(u128, u64, &str)> = bytes
        .iter()
        .filter(|(_, bytes)| **bytes > 0)
        .map(|(node, bytes)| (*bytes, hash::stable(&[seed.as_bytes(), node.as_bytes()]), *node))
        .collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let mut zones: BTreeMap<&str, u128> = BTreeMap::new();
    for (bytes, _, node) in &ranked {
        if let Some(zone) = places.get(*node).and_then(|place| place.zone.as_deref()) {
            let most = zones.entry(zone).or_default();
            *most = (*most).max(*bytes);
        }
    }
    let mut by_weight: BTreeMap<(i32, &str), BTreeSet<&str>> = BTreeMap::new();
    for (bytes, _, node) in ranked.iter().take(NODES) {
        if let Some(place) = places.get(*node) {
            by_weight.entry((steps(*bytes, NODE_STEPS) * NODE_STEP, HOSTNAME)).or_default().insert(&place.hostname);
        }
    }
    let everywhere: BTreeSet<Option<&str>> = places.values().map(|place| place.zone.as_deref()).collect();
    if everywhere.len() > 1 {
        for (zone, bytes) in zones.iter().take(ZONES) {
            by_weight.entry((steps(*bytes, ZONE_STEPS) * ZONE_STEP, ZONE)).or_default().insert(zone);
        }
    }
    by_weight.into_iter().rev().map(|((weight, key), values)| term(weight, key, &values)).collect()
}

fn term(weight: i32, key: &str, values: &BTreeSet<&str>) -> PreferredSchedulingTerm {
    let requirement = NodeSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
    };
    PreferredSchedulingTerm {
        weight,
        preference: NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None },
    }
}

#[cfg(test)]
mod tests;
