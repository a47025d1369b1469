use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::values::human;
use forebay_crds::words::{clean, count, prefetch};

use super::stage::Stage;
use crate::view::DatasetView;

/// One line of a log about a Dataset. `rate` is that of its listing, in objects a second.
pub(super) fn line(dataset: &DatasetView, rate: u64, now: Timestamp) -> String {
    format!("{}: {}", clean(&dataset.full_name().to_string()), message(dataset, rate, now))
}

/// The same without the name.
pub(super) fn message(dataset: &DatasetView, rate: u64, now: Timestamp) -> String {
    let status = &dataset.status;
    let tree = || format!("{}, {}", count(status.catalog.files, "file"), human(status.catalog.bytes));
    let at = || if dataset.mounted { format!(" at {}", clean(&dataset.at.to_string_lossy())) } else { String::new() };
    match Stage::of(dataset) {
        Stage::Waiting => format!("waiting{}", because(dataset)),
        Stage::Listing => {
            let Some(seen) = dataset.listing else { return format!("listing{}", because(dataset)) };
            let seen = count(seen, "object");
            let rate = if rate > 0 { format!(", {rate}/s") } else { String::new() };
            format!("listing: {seen} seen{rate}")
        }
        Stage::Prefetching => {
            let far = prefetch(&status.prefetch, now).unwrap_or_else(tree);
            let failed = match status.prefetch.failed_files {
                0 => String::new(),
                failed => format!(", {failed} failed"),
            };
            format!("prefetching{}: {far}{failed}", at())
        }
        Stage::Ready => format!("ready{}: {}", at(), tree()),
        Stage::Degraded => format!("degraded{}{}", at(), because(dataset)),
        Stage::Failed => format!("failed{}", because(dataset)),
    }
}

/// The first condition that does not hold and says why.
fn because(dataset: &DatasetView) -> String {
    let mut conditions = dataset.status.conditions.iter();
    let told = conditions.find(|condition| condition.status != "True" && !condition.message.is_empty());
    told.map(|condition| format!(": {}", clean(&condition.message))).unwrap_or_default()
}
