//! One status from what the agents of all nodes say: pure.
//!
//! What is counted how, and why:
//! - `catalog`: each agent lists for itself, so the newest listing is taken whole; numbers of two listings are not mixed.
//! - `cache`: which files a node holds is not known here, only how many bytes. Each file counted once lies between the greatest
//!   node's bytes and the sum over nodes. With EveryNode all hold the same working set, so it is the greatest; with
//!   Sharded each file is on `replicas` nodes, so it is the sum divided by them, at least the greatest, and at most the
//!   Dataset. The hit ratio is the mean over nodes that were read on, since the bytes read there are not reported.
//! - `prefetch`: each node has its own work, so work is summed and the last node's completion counts. A file that fails on
//!   several nodes is shown once.
//! - `phase`: served only where the newest spec is; a node that is silent or failed makes it Degraded, one that still lists
//!   does not.

use std::collections::{BTreeMap, BTreeSet};

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::dataset::{CacheStatus, CatalogStatus, NodesStatus, PrefetchStatus, TierUsage};
use forebay_crds::{Phase, Placement};

use crate::agents::standing::Standing;
use crate::verdict::{Verdict, find};

/// Nodes that a message names.
const NAMED: usize = 5;

/// What is known of a Dataset's nodes.
#[derive(Debug)]
pub(super) struct Nodes<'a> {
    /// The nodes that are to serve it.
    pub(super) desired: &'a BTreeSet<String>,
    /// What the agents that answer say, by node.
    pub(super) reports: BTreeMap<&'a str, &'a Standing>,
    /// `metadata.generation`: what an agent says of an older spec does not count as served.
    pub(super) generation: i64,
    /// The runtime's name, for messages.
    pub(super) runtime: &'a str,
    /// Whether the runtime's nodes have been chosen.
    pub(super) chosen: bool,
    /// Whether any node has ever served it.
    pub(super) served_before: bool,
}

/// A Dataset's status over all its nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Merged {
    pub(super) phase: Phase,
    pub(super) catalog: CatalogStatus,
    pub(super) cache: CacheStatus,
    pub(super) prefetch: PrefetchStatus,
    pub(super) nodes: NodesStatus,
    /// Ready, Prefetched and StoresReachable; where something is mounted NativeReads, and Composed where that was asked for.
    pub(super) verdicts: Vec<Verdict>,
}

fn served(phase: Phase) -> bool {
    matches!(phase, Phase::Prefetching | Phase::Ready | Phase::Degraded)
}

pub(super) fn merge(nodes: &Nodes<'_>, placement: &Placement) -> Merged {
    let counted: BTreeMap<&str, &Standing> =
        nodes.reports.iter().filter(|(node, _)| nodes.desired.contains(**node)).map(|(node, status)| (*node, *status)).collect();
    let sight = Sight::of(nodes, &counted);
    let statuses: Vec<&Standing> = counted.values().copied().collect();
    let catalog = catalog(&counted);
    let mut verdicts = vec![sight.ready(nodes, &counted), prefetched(nodes, &counted, &sight), stores_reachable(&counted, nodes)];
    verdicts.extend([kind::COMPOSED, kind::NATIVE_READS].into_iter().filter_map(|kind| slowest(kind, &counted)));
    Merged {
        phase: sight.phase(&counted),
        cache: cache(&statuses, placement, &catalog),
        prefetch: prefetch(&statuses),
        nodes: NodesStatus { ready: count(sight.serving.len()), desired: count(nodes.desired.len()) },
        verdicts,
        catalog,
    }
}

/// Where the Dataset's nodes stand.
struct Sight<'a> {
    serving: Vec<&'a str>,
    /// They answer, and are on their way to serving.
    coming: Vec<&'a str>,
    failed: Vec<&'a str>,
    silent: Vec<&'a str>,
}

impl<'a> Sight<'a> {
    fn of(nodes: &'a Nodes<'_>, counted: &BTreeMap<&'a str, &Standing>) -> Self {
        let mut sight = Self { serving: vec![], coming: vec![], failed: vec![], silent: vec![] };
        for node in nodes.desired {
            let node = node.as_str();
            let list = match counted.get(node) {
                None => &mut sight.silent,
                Some(status) if status.words.phase == Phase::Failed => &mut sight.failed,
                Some(status) => {
                    let current = status.words.observed_generation.is_none_or(|generation| generation >= nodes.generation);
                    if served(status.words.phase) && current { &mut sight.serving } else { &mut sight.coming }
                }
            };
            list.push(node);
        }
        sight
    }

    fn phase(&self, counted: &BTreeMap<&str, &Standing>) -> Phase {
        let any = |phase: Phase| counted.values().any(|status| status.words.phase == phase);
        let readable = counted.values().any(|status| served(status.words.phase));
        if !readable {
            return match (any(Phase::Listing), any(Phase::Failed)) {
                (true, _) => Phase::Listing,
                (false, true) => Phase::Failed,
                (false, false) => Phase::Pending,
            };
        }
        if any(Phase::Degraded) || !self.failed.is_empty() || !self.silent.is_empty() {
            return Phase::Degraded;
        }
        if any(Phase::Prefetching) || !self.coming.is_empty() { Phase::Prefetching } else { Phase::Ready }
    }

    fn ready(&self, nodes: &Nodes<'_>, counted: &BTreeMap<&str, &Standing>) -> Verdict {
        let (runtime, all) = (nodes.runtime, nodes.desired.len());
        if all == 0 && !nodes.chosen {
            let message = format!("the nodes of CacheRuntime {runtime} are not chosen yet");
            return Verdict::bad(kind::READY, reason::STARTING, message);
        }
        if all == 0 {
            let remedy = format!("see `kubectl describe cacheruntime {runtime}`");
            return Verdict::bad(
                kind::READY,
                reason::NO_NODES,
                format!("no node of CacheRuntime {runtime} lends space; {remedy}"),
            );
        }
        if self.serving.len() == all {
            let on = if all == 1 { "1 node".to_owned() } else { format!("{all} nodes") };
            return Verdict::good(kind::READY, format!("the tree is listed and served on {on}"));
        }
        let serving = format!("served on {} of {all} nodes", self.serving.len());
        if !self.failed.is_empty() {
            let (why, message) = said(&self.failed, counted, kind::READY);
            return Verdict::bad(kind::READY, &why, format!("{serving}; {message}"));
        }
        if !self.silent.is_empty() {
            let remedy = format!("see its pod among those with the label forebay.io/runtime={runtime}");
            let message = format!("{serving}; no agent answers on {}: {remedy}", named(&self.silent));
            let why = if nodes.served_before { reason::NODES_MISSING } else { reason::STARTING };
            return Verdict::bad(kind::READY, why, message);
        }
        let (why, message) = said(&self.coming, counted, kind::READY);
        Verdict::bad(kind::READY, &why, format!("{serving}; {message}"))
    }
}

/// The reason and the words of the first of `on` whose condition does not hold.
fn said(on: &[&str], counted: &BTreeMap<&str, &Standing>, kind: &str) -> (String, String) {
    for node in on {
        let Some(status) = counted.get(node) else { continue };
        if let Some(condition) = find(&status.words.conditions, kind).filter(|condition| condition.status != "True") {
            return (condition.reason.clone(), format!("{node}: {}", condition.message));
        }
    }
    (reason::STARTING.to_owned(), format!("{} take it up", named(on)))
}

fn named(nodes: &[&str]) -> String {
    let shown = nodes.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if nodes.len() > NAMED { format!("{shown} and {} more", nodes.len() - NAMED) } else { shown }
}

fn prefetched(nodes: &Nodes<'_>, counted: &BTreeMap<&str, &Standing>, sight: &Sight<'_>) -> Verdict {
    for (node, status) in counted {
        if let Some(condition) = find(&status.words.conditions, kind::PREFETCHED).filter(|condition| condition.status != "True") {
            return Verdict::bad(kind::PREFETCHED, &condition.reason, format!("{node}: {}", condition.message));
        }
    }
    if counted.is_empty() || !sight.silent.is_empty() {
        let message = format!("{} of {} nodes say how far they are", counted.len(), nodes.desired.len());
        return Verdict::bad(kind::PREFETCHED, reason::NODES_MISSING, message);
    }
    let message = counted.values().find_map(|status| find(&status.words.conditions, kind::PREFETCHED));
    let message = message.map_or("all that was asked for ahead is cached", |condition| &condition.message);
    Verdict::good(kind::PREFETCHED, message)
}

fn stores_reachable(counted: &BTreeMap<&str, &Standing>, nodes: &Nodes<'_>) -> Verdict {
    let words =
        || counted.iter().filter_map(|(node, status)| Some((node, find(&status.words.conditions, kind::STORES_REACHABLE)?)));
    if let Some((node, condition)) = words().find(|(_, condition)| condition.status != "True") {
        return Verdict::bad(kind::STORES_REACHABLE, &condition.reason, format!("{node}: {}", condition.message));
    }
    match words().next() {
        Some((_, condition)) => Verdict::good(kind::STORES_REACHABLE, &condition.message),
        None => {
            let message = format!("none of {} nodes has asked the stores yet", nodes.desired.len());
            Verdict::unknown(kind::STORES_REACHABLE, reason::NODES_MISSING, message)
        }
    }
}

/// Of nodes that mount it: as the slowest of them reads.
fn slowest(kind: &'static str, counted: &BTreeMap<&str, &Standing>) -> Option<Verdict> {
    let words = || counted.iter().filter_map(|(node, status)| Some((node, find(&status.words.conditions, kind)?)));
    match words().find(|(_, condition)| condition.status != "True") {
        Some((node, condition)) => Some(Verdict::bad(kind, &condition.reason, format!("{node}: {}", condition.message))),
        None => words().next().map(|(_, condition)| Verdict::good(kind, &condition.message)),
    }
}

fn catalog(counted: &BTreeMap<&str, &Standing>) -> CatalogStatus {
    let listed = counted.values().filter(|status| status.listing > 0);
    // Of listings that are equally old the one with the greatest number, of equals the first node's: nothing jumps.
    let newest = listed.rev().max_by_key(|status| (status.listed_at.as_ref().map(|time| time.0), status.listing));
    let Some(newest) = newest.or_else(|| counted.values().next()) else { return CatalogStatus::default() };
    let mut catalog = newest.catalog();
    for mount in catalog.mounts.iter_mut().filter(|mount| mount.error.is_none()) {
        mount.error = counted.iter().find_map(|(node, status)| {
            let same = status.catalog.mounts.iter().find(|other| other.path == mount.path)?;
            same.error.as_ref().map(|error| format!("{node}: {error}"))
        });
    }
    catalog
}

fn cache(statuses: &[&Standing], placement: &Placement, catalog: &CatalogStatus) -> CacheStatus {
    let copies = placement.copies();
    let most = if catalog.generation > 0 { catalog.bytes } else { u64::MAX };
    let distinct = |values: &mut dyn Iterator<Item = u64>| {
        let (greatest, sum) = values.fold((0, 0u64), |(greatest, sum), value| (value.max(greatest), value.saturating_add(sum)));
        match copies {
            None => greatest,
            Some(copies) => (sum / u64::from(copies.max(1))).max(greatest).min(most.max(greatest)),
        }
    };
    let caches: Vec<&CacheStatus> = statuses.iter().map(|status| &*status.cache).collect();
    let mut names: Vec<&str> = Vec::new();
    for tier in caches.iter().flat_map(|cache| &cache.tiers) {
        if !names.contains(&tier.name.as_str()) {
            names.push(&tier.name);
        }
    }
    let of_tier = |name: &str, bytes: fn(&TierUsage) -> u64| {
        distinct(&mut caches.iter().filter_map(|cache| cache.tiers.iter().find(|tier| tier.name == name)).map(bytes))
    };
    let ratios: Vec<f64> = caches.iter().filter_map(|cache| cache.hit_ratio).collect();
    CacheStatus {
        bytes: distinct(&mut caches.iter().map(|cache| cache.bytes)),
        percent: 0,
        pinned_bytes: distinct(&mut caches.iter().map(|cache| cache.pinned_bytes)),
        // Four digits: a status that differs in the fifteenth would be written each second.
        hit_ratio: (!ratios.is_empty()).then(|| (ratios.iter().sum::<f64>() / ratios.len() as f64 * 10_000.0).round() / 10_000.0),
        tiers: names
            .iter()
            .map(|name| TierUsage {
                name: (*name).to_owned(),
                bytes: of_tier(name, |tier| tier.bytes),
                pinned_bytes: of_tier(name, |tier| tier.pinned_bytes),
            })
            .collect(),
    }
}

fn prefetch(statuses: &[&Standing]) -> PrefetchStatus {
    let mut all = PrefetchStatus::default();
    let mut failed = BTreeMap::new();
    for status in statuses {
        let PrefetchStatus {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion,
            failed_files,
            failed: sample,
        } = &*status.prefetch;
        all.done_bytes = all.done_bytes.saturating_add(*done_bytes);
        all.total_bytes = all.total_bytes.saturating_add(*total_bytes);
        all.done_files = all.done_files.saturating_add(*done_files);
        all.total_files = all.total_files.saturating_add(*total_files);
        all.bytes_per_second = all.bytes_per_second.saturating_add(*bytes_per_second);
        all.failed_files = all.failed_files.saturating_add(*failed_files);
        let later = match (&all.estimated_completion, estimated_completion) {
            (Some(a), Some(b)) => Some(if a.0 >= b.0 { a } else { b }.clone()),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        all.estimated_completion = later;
        for file in sample {
            failed.entry(file.path.clone()).or_insert_with(|| file.clone());
        }
    }
    all.failed = failed.into_values().take(PrefetchStatus::SAMPLE).collect();
    all
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
