use std::fmt::Write as _;

use forebay_api::DatasetReport;
use forebay_crds::dataset::{CatalogStatus, PrefetchStatus};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::values::human;

use super::words::{clean, count, seconds_between, span};

/// All that is worth saying of one Dataset: where it is, what is not as it should be and why, how far it is.
pub(crate) fn details(dataset: &DatasetReport, now: Timestamp) -> String {
    let status = &dataset.status;
    let mut text = Lines(String::new());
    text.0.push_str(&headline(dataset, now));
    text.0.push('\n');
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", clean(&condition.message)) };
        text.line(
            1,
            &format!("{} is {} ({}){message}", clean(&condition.type_), clean(&condition.status), clean(&condition.reason)),
        );
    }
    if let Some(seen) = dataset.listing {
        text.line(1, &format!("listing    {} seen", count(seen, "object")));
    }
    if let Some(line) = prefetch(&status.prefetch, now) {
        text.line(1, &format!("prefetch   {line}"));
    }
    failed(&mut text, &status.prefetch);
    for tier in &status.cache.tiers {
        let pinned = if tier.pinned_bytes > 0 { format!(", {} pinned", human(tier.pinned_bytes)) } else { String::new() };
        text.line(1, &format!("tier       {}: {}{pinned}", clean(&tier.name), human(tier.bytes)));
    }
    if !status.summary.hit_ratio.is_empty() {
        text.line(1, &format!("hit ratio  {}", status.summary.hit_ratio));
    }
    if let Some(why) = &dataset.not_native {
        text.line(1, &format!("reads      through the agent: {}", clean(why)));
    }
    mounts(&mut text, &status.catalog);
    rejected(&mut text, &status.catalog);
    text.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{:1$}{text}", "", depth * 2);
    }
}

fn headline(dataset: &DatasetReport, now: Timestamp) -> String {
    let at = clean(&dataset.at.to_string_lossy());
    let place = if dataset.mounted { format!("mounted at {at}") } else { format!("not mounted yet (will be at {at})") };
    let catalog = &dataset.status.catalog;
    let listed = match (&catalog.listed_at, catalog.generation) {
        (_, 0) => ", not listed yet".to_owned(),
        (Some(time), number) => format!(", listing {number} made {} ago", span(seconds_between(time.0, now))),
        (None, number) => format!(", listing {number}"),
    };
    format!("{}: {place}{listed}", clean(&dataset.full_name().to_string()))
}

/// How far a prefetch is; `None` when nothing was asked for ahead.
pub(crate) fn prefetch(prefetch: &PrefetchStatus, now: Timestamp) -> Option<String> {
    let PrefetchStatus { done_bytes, total_bytes, done_files, total_files, bytes_per_second, .. } = *prefetch;
    if total_files == 0 {
        return None;
    }
    let done = done_files >= total_files && done_bytes >= total_bytes;
    if done {
        return Some(format!("complete: {}, {}", count(total_files, "file"), human(total_bytes)));
    }
    let left = prefetch.estimated_completion.as_ref().map(|end| format!(", {} left", span(seconds_between(now, end.0))));
    let pace = format!("{}/s{}", human(bytes_per_second), left.unwrap_or_default());
    Some(format!(
        "{}%: {} of {}, {done_files} of {}, {pace}",
        percent(prefetch),
        human(done_bytes),
        human(total_bytes),
        count(total_files, "file"),
    ))
}

/// How much of a prefetch is done, in whole percent, 100 only when all is.
fn percent(prefetch: &PrefetchStatus) -> u64 {
    let of = |part: u64, whole: u64| if whole == 0 { 100 } else { (u128::from(part) * 100 / u128::from(whole)).min(100) };
    // Empty files have no bytes, and yet they are to be done.
    let least = of(prefetch.done_bytes, prefetch.total_bytes).min(match prefetch.done_files >= prefetch.total_files {
        true => 100,
        false => 99,
    });
    u64::try_from(least).unwrap_or(100)
}

fn failed(text: &mut Lines, prefetch: &PrefetchStatus) {
    if prefetch.failed_files == 0 {
        return;
    }
    text.line(1, &format!("not fetched: {}", count(prefetch.failed_files, "file")));
    for file in &prefetch.failed {
        text.line(2, &format!("{}: {}", clean(&file.path), clean(&file.error)));
    }
    more(text, prefetch.failed_files, prefetch.failed.len());
}

fn mounts(text: &mut Lines, catalog: &CatalogStatus) {
    for mount in &catalog.mounts {
        let error = mount.error.as_ref().map(|error| format!("; failed: {}", clean(error))).unwrap_or_default();
        let size = format!("{}, {}", count(mount.files, "file"), human(mount.bytes));
        text.line(1, &format!("mount      {}: {size}{error}", clean(mount.path.as_str())));
    }
}

fn rejected(text: &mut Lines, catalog: &CatalogStatus) {
    if catalog.rejected == 0 {
        return;
    }
    text.line(1, &format!("not shown: {} that cannot be files", count(catalog.rejected, "object")));
    for object in &catalog.rejected_sample {
        text.line(2, &format!("mount {}: \"{}\": {}", clean(object.mount.as_str()), clean(&object.key), clean(&object.reason)));
    }
    more(text, catalog.rejected, catalog.rejected_sample.len());
}

/// Lists are samples: says how many were left out.
fn more(text: &mut Lines, all: u64, shown: usize) {
    let left = all.saturating_sub(shown as u64);
    if left > 0 && shown > 0 {
        text.line(2, &format!("and {left} more"));
    }
}
