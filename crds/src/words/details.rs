use std::fmt::Write as _;

use crate::dataset::{CatalogStatus, DatasetStatus, PrefetchStatus};
use crate::k8s::jiff::Timestamp;
use crate::values::human;

use super::text::{clean, count, seconds_between, span};

/// All that is worth saying of a Dataset, a line for each: what is not as it should be and why, how far it is. `listing` is the number of
/// objects that a listing under way has seen.
pub fn details(status: &DatasetStatus, listing: Option<u64>, now: Timestamp) -> String {
    let mut text = Lines(String::new());
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", clean(&condition.message)) };
        text.line(
            1,
            &format!("{} is {} ({}){message}", clean(&condition.type_), clean(&condition.status), clean(&condition.reason)),
        );
    }
    if let Some(seen) = listing {
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

/// The first condition that does not hold and says why, behind a colon; nothing when there is none.
pub fn because(status: &DatasetStatus) -> String {
    let told = status.conditions.iter().find(|condition| condition.status != "True" && !condition.message.is_empty());
    told.map(|condition| format!(": {}", clean(&condition.message))).unwrap_or_default()
}

/// How many files a prefetch could not fetch, behind a comma; nothing when there are none.
pub fn failed_files(prefetch: &PrefetchStatus) -> String {
    match prefetch.failed_files {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    }
}

/// How far a prefetch is; `None` when nothing was asked for ahead.
pub fn prefetch(prefetch: &PrefetchStatus, now: Timestamp) -> Option<String> {
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

/// How much of a prefetch is done, in whole percent, 100 only when all is; `None` when nothing was asked for ahead.
pub fn prefetch_percent(prefetch: &PrefetchStatus) -> Option<u64> {
    (prefetch.total_files > 0).then(|| percent(prefetch))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefetch_is_complete_only_when_all_is_there() {
        let cases = [
            // (done bytes, total, done files, total) and what is shown
            ((0, 0, 0, 0), None),
            ((100, 100, 5, 5), Some("complete: 5 files, 100B")),
            ((0, 0, 4, 5), Some("99%: 0B of 0B, 4 of 5 files, 0B/s")),
            ((100, 100, 4, 5), Some("99%: 100B of 100B, 4 of 5 files, 0B/s")),
            ((0, 0, 1, 1), Some("complete: 1 file, 0B")),
            ((998, 999, 0, 1), Some("99%: 998B of 999B, 0 of 1 file, 0B/s")),
        ];
        for ((done_bytes, total_bytes, done_files, total_files), expected) in cases {
            let status = PrefetchStatus { done_bytes, total_bytes, done_files, total_files, ..Default::default() };
            assert_eq!(prefetch(&status, Timestamp::UNIX_EPOCH).as_deref(), expected);
        }
    }
}
