use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::values::human;
use forebay_crds::words::{because, clean, count, failed_files, prefetch};

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
        Stage::Waiting => format!("waiting{}", because(status)),
        Stage::Listing => {
            let Some(seen) = dataset.listing else { return format!("listing{}", because(status)) };
            let seen = count(seen, "object");
            let rate = if rate > 0 { format!(", {rate}/s") } else { String::new() };
            format!("listing: {seen} seen{rate}")
        }
        Stage::Prefetching => {
            let far = prefetch(&status.prefetch, now).unwrap_or_else(tree);
            format!("prefetching{}: {far}{}", at(), failed_files(&status.prefetch))
        }
        Stage::Ready => format!("ready{}: {}", at(), tree()),
        Stage::Degraded => format!("degraded{}{}", at(), because(status)),
        Stage::Failed => format!("failed{}", because(status)),
    }
}
