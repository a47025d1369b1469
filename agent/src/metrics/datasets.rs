use std::collections::BTreeMap;
use std::fmt;

use forebay_cache::DatasetUsage;
use forebay_crds::Phase;

use super::names;
use super::page::{Page, Value};
use crate::view::{DatasetView, Opens};

const PHASES: [Phase; 6] = [Phase::Pending, Phase::Listing, Phase::Prefetching, Phase::Ready, Phase::Degraded, Phase::Failed];

/// Writes what is known of each Dataset.
pub(super) fn write(page: &mut Page<'_>, datasets: &[DatasetView], usage: &BTreeMap<String, DatasetUsage>) -> fmt::Result {
    let phases = PHASES.map(|phase| (phase, format!("{phase:?}")));
    page.write(
        &names::DATASET_PHASE,
        datasets
            .iter()
            .flat_map(|d| phases.iter().map(|(phase, word)| ([&*d.namespace, &*d.name, &**word], d.status.phase == *phase))),
    )?;
    page.write(
        &names::DATASET_CONDITION,
        datasets
            .iter()
            .flat_map(|d| d.status.conditions.iter().map(|c| ([&*d.namespace, &*d.name, &*c.type_], truth(&c.status)))),
    )?;

    let mut each = |metric: &names::Metric, value: &dyn Fn(&DatasetView) -> Option<Value>| {
        page.write(metric, datasets.iter().filter_map(|d| Some((labels(d), value(d)?))))
    };
    each(&names::DATASET_MOUNTED, &|d| Some(d.mounted.into()))?;
    each(&names::DATASET_FILES, &|d| Some(d.status.catalog.files.into()))?;
    each(&names::DATASET_BYTES, &|d| Some(d.status.catalog.bytes.into()))?;
    each(&names::DATASET_GENERATION, &|d| Some(d.status.catalog.generation.into()))?;
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    each(&names::DATASET_LISTED, &|d| d.status.catalog.listed_at.as_ref().map(|at| (at.0.as_second() as f64).into()))?;
    each(&names::DATASET_LISTING, &|d| d.listing.map(Value::from))?;
    each(&names::DATASET_REJECTED, &|d| Some(d.status.catalog.rejected.into()))?;
    each(&names::DATASET_CACHED, &|d| Some(d.status.cache.bytes.into()))?;
    each(&names::DATASET_PINNED, &|d| Some(d.status.cache.pinned_bytes.into()))?;
    each(&names::DATASET_QUOTA, &|d| usage.get(&d.full_name().to_string())?.quota.map(Value::from))?;
    each(&names::DATASET_HIT_RATIO, &|d| d.status.cache.hit_ratio.map(Value::from))?;
    each(&names::PREFETCH_TOTAL_FILES, &|d| Some(d.status.prefetch.total_files.into()))?;
    each(&names::PREFETCH_DONE_FILES, &|d| Some(d.status.prefetch.done_files.into()))?;
    each(&names::PREFETCH_FAILED_FILES, &|d| Some(d.status.prefetch.failed_files.into()))?;
    each(&names::PREFETCH_TOTAL_BYTES, &|d| Some(d.status.prefetch.total_bytes.into()))?;
    each(&names::PREFETCH_DONE_BYTES, &|d| Some(d.status.prefetch.done_bytes.into()))?;

    page.write(
        &names::DATASET_TIER_CACHED,
        datasets.iter().flat_map(|d| d.status.cache.tiers.iter().map(|t| ([&*d.namespace, &*d.name, &*t.name], t.bytes))),
    )?;
    let mounts = || datasets.iter().flat_map(|d| d.status.catalog.mounts.iter().map(move |mount| (d, mount)));
    page.write(&names::DATASET_MOUNT_OK, mounts().map(|(d, m)| ([&*d.namespace, &*d.name, m.path.as_str()], m.error.is_none())))?;
    page.write(&names::DATASET_MOUNT_FILES, mounts().map(|(d, m)| ([&*d.namespace, &*d.name, m.path.as_str()], m.files)))?;
    page.write(&names::DATASET_MOUNT_BYTES, mounts().map(|(d, m)| ([&*d.namespace, &*d.name, m.path.as_str()], m.bytes)))
}

/// Writes how files were opened.
pub(super) fn opens(page: &mut Page<'_>, all: &[Opens]) -> fmt::Result {
    let ways = all.iter().flat_map(|opens| {
        let counts = [("native", opens.counts.native), ("served", opens.counts.served)];
        counts.map(|(way, count)| ([&*opens.namespace, &*opens.name, way], count))
    });
    page.write(&names::DATASET_OPENS, ways)?;
    let each = || all.iter().map(|opens| ([&*opens.namespace, &*opens.name], &opens.counts));
    page.write(&names::DATASET_KEPT_FILES, each().map(|(labels, counts)| (labels, counts.kept_ids as u64)))?;
    page.write(&names::DATASET_NATIVE, each().map(|(labels, counts)| (labels, counts.why_not.is_none())))
}

fn labels(dataset: &DatasetView) -> [&str; 2] {
    [&dataset.namespace, &dataset.name]
}

/// A condition's status as a number.
fn truth(status: &str) -> f64 {
    match status {
        "True" => 1.0,
        "False" => 0.0,
        _ => -1.0,
    }
}
