use forebay_api::DatasetReport;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::{align, clean, seconds_between, span};

/// The table that `kubectl get datasets` shows, with a column for the namespace when there are several.
pub(crate) fn table(datasets: &[DatasetReport], now: Timestamp) -> String {
    if datasets.is_empty() {
        return "No Datasets are served.\n".to_owned();
    }
    let several = datasets.windows(2).any(|pair| pair[0].namespace != pair[1].namespace);
    let mut rows = vec![["NAMESPACE", "NAME", "FILES", "SIZE", "CACHED", "PHASE", "AGE"].map(str::to_owned).to_vec()];
    rows.extend(datasets.iter().map(|dataset| row(dataset, now)));
    if !several {
        rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    align(&rows)
}

fn row(dataset: &DatasetReport, now: Timestamp) -> Vec<String> {
    let status = &dataset.status;
    // Before the first listing nothing is known of the tree; 0 files and 100% of nothing would be lies.
    let listed = status.catalog.generation > 0;
    let known = |text: String| if listed { text } else { "-".to_owned() };
    let since = Timestamp::try_from(dataset.since).unwrap_or(now);
    vec![
        clean(&dataset.namespace),
        clean(&dataset.name),
        known(status.catalog.files.to_string()),
        known(status.summary.size.clone()),
        known(status.summary.cached.clone()),
        format!("{:?}", status.phase),
        span(seconds_between(since, now)),
    ]
}
