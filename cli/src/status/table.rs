use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::values::human;
use forebay_crds::words::{align, clean, prefetch_percent, seconds_between, span};
use forebay_crds::{Dataset, DatasetStatus};
use kube::ResourceExt as _;

const HEAD: [&str; 9] = ["NAMESPACE", "NAME", "PHASE", "FILES", "SIZE", "CACHED", "PREFETCH", "NODES", "AGE"];

/// A line for each Dataset, with a column for the namespace or without.
pub(super) fn table(datasets: &[Dataset], namespaces: bool, now: Timestamp) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(datasets.iter().map(|dataset| row(dataset, now)));
    if !namespaces {
        rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    align(&rows)
}

fn row(dataset: &Dataset, now: Timestamp) -> Vec<String> {
    let status = dataset.status.clone().unwrap_or_default();
    // Before the first listing nothing is known of the tree; 0 files and 100% of nothing would be lies.
    let listed = status.catalog.generation > 0;
    let known = |text: String| if listed { text } else { "-".to_owned() };
    let age = dataset.creation_timestamp().map_or("-".to_owned(), |time| span(seconds_between(time.0, now)));
    let phase = if dataset.metadata.deletion_timestamp.is_some() { "Deleting".to_owned() } else { format!("{:?}", status.phase) };
    vec![
        clean(&dataset.namespace().unwrap_or_default()),
        clean(&dataset.name_any()),
        phase,
        known(status.catalog.files.to_string()),
        known(status.summary.size.clone()),
        known(status.summary.cached.clone()),
        prefetch(&status, now),
        status.summary.nodes,
        age,
    ]
}

/// How far fetching ahead is, and while it goes on how fast and how long yet.
fn prefetch(status: &DatasetStatus, now: Timestamp) -> String {
    let prefetch = &status.prefetch;
    match prefetch_percent(prefetch) {
        None => "-".to_owned(),
        Some(percent @ 100) => format!("{percent}%"),
        Some(percent) => {
            let left = prefetch.estimated_completion.as_ref().map(|end| format!(", {}", span(seconds_between(now, end.0))));
            format!("{percent}%, {}/s{}", human(prefetch.bytes_per_second), left.unwrap_or_default())
        }
    }
}

/// A line for each condition that does not hold.
pub(super) fn not_well(status: &DatasetStatus) -> String {
    let bad = status.conditions.iter().filter(|condition| condition.status != "True");
    bad.map(|condition| {
        let [kind, is, why] = [&condition.type_, &condition.status, &condition.reason].map(|text| clean(text));
        format!("  {kind} is {is} ({why}): {}\n", clean(&condition.message))
    })
    .collect()
}
