use std::time::{Duration, UNIX_EPOCH};

use forebay_api::session::{DatasetProgress, Health, TierHealth};
use forebay_api::{DatasetName, DatasetReport};
use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::dataset::{MountStatus, TierUsage};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::values::TreePath;
use forebay_crds::{DatasetStatus, Phase};

const FILES: u64 = 12_000;
const BYTES: u64 = 1 << 40;
const TIERS: [&str; 2] = ["ram", "ssd"];
/// Seconds of the fetching that is under way.
const FETCH: u64 = 3600;

/// A Dataset as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: DatasetName,
    pub(crate) uid: String,
}

/// What agent number `agent` says of a Dataset: that all is there, or with `second` how far it is.
pub(crate) fn progress(known: &Known, generation: i64, agent: usize, second: Option<u64>) -> DatasetProgress {
    let agent = agent as u64;
    // Agents are not equally far.
    let done = second.map_or(BYTES, |second| BYTES / FETCH * ((second + agent) % FETCH));
    let began = 1_700_000_000 + agent % 30;
    let mut status = DatasetStatus {
        observed_generation: Some(generation),
        phase: if second.is_none() { Phase::Ready } else { Phase::Prefetching },
        conditions: conditions(began, second.map(|_| done)),
        ..DatasetStatus::default()
    };
    let catalog = &mut status.catalog;
    (catalog.files, catalog.bytes, catalog.generation) = (FILES, BYTES, 1);
    // Each lists for itself.
    catalog.listed_at = time(began);
    catalog.mounts = vec![MountStatus { path: TreePath::root(), files: FILES, bytes: BYTES, error: None }];
    status.cache.bytes = done;
    status.cache.tiers = TIERS
        .iter()
        .map(|tier| TierUsage { name: (*tier).to_owned(), bytes: done / TIERS.len() as u64, pinned_bytes: 0 })
        .collect();
    status.cache.hit_ratio = ratio(known, agent);
    let prefetch = &mut status.prefetch;
    (prefetch.done_bytes, prefetch.total_bytes) = (done, BYTES);
    (prefetch.done_files, prefetch.total_files) = (FILES * (done >> 20) / (BYTES >> 20), FILES);
    if let Some(second) = second {
        prefetch.bytes_per_second = BYTES / FETCH;
        prefetch.estimated_completion = time(began + FETCH - (second + agent) % FETCH);
    }
    let report = DatasetReport {
        namespace: known.name.namespace.clone(),
        name: known.name.name.clone(),
        at: "/var/lib/kubelet/plugins/csi.forebay.io".into(),
        mounted: true,
        since: UNIX_EPOCH + Duration::from_secs(began),
        listing: None,
        status,
        not_native: None,
    };
    DatasetProgress { uid: known.uid.clone(), report, refreshed: None, evicted: None, mounts: 0 }
}

/// One in twenty of a node's Datasets has been read on it, on each to another share from its cache.
fn ratio(known: &Known, agent: u64) -> Option<f64> {
    let place: u64 = known.uid.bytes().map(u64::from).sum();
    (place + agent).is_multiple_of(20).then(|| 0.9 + (agent % 1000) as f64 / 10_000.0)
}

fn conditions(began: u64, done: Option<u64>) -> Vec<Condition> {
    let condition = |kind: &str, holds: bool, why: &str, message: String| Condition {
        last_transition_time: time(began).unwrap_or(Time(Timestamp::UNIX_EPOCH)),
        message,
        observed_generation: None,
        reason: why.into(),
        status: if holds { "True" } else { "False" }.into(),
        type_: kind.into(),
    };
    let prefetched = match done {
        None => condition(kind::PREFETCHED, true, reason::AS_DESIRED, "all that was asked for ahead is cached".into()),
        Some(done) => condition(kind::PREFETCHED, false, reason::PREFETCHING, format!("{done} of {BYTES} bytes are fetched")),
    };
    vec![
        condition(kind::READY, true, reason::AS_DESIRED, format!("{FILES} files are listed and served")),
        prefetched,
        condition(kind::STORES_REACHABLE, true, reason::AS_DESIRED, "the store of each mount answers".into()),
    ]
}

fn time(second: u64) -> Option<Time> {
    Timestamp::from_second(i64::try_from(second).ok()?).ok().map(Time)
}

/// How an agent's tiers do on a node that has had data for `age`.
pub(crate) fn health(age: Duration) -> Health {
    let tier = |name: &&str| TierHealth {
        name: (*name).to_owned(),
        capacity_bytes: BYTES,
        used_bytes: BYTES / 2 + (age.as_secs() << 20),
        pinned_bytes: 0,
        fault: None,
    };
    Health { tiers: TIERS.iter().map(tier).collect(), age: Some(age) }
}
