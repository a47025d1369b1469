use forebay_crds::conditions;

use crate::view::DatasetView;
use forebay_crds::words::{clean, count};

/// Whether every Dataset is listed and mounted, and a line for each that says so or why not.
pub(super) fn readiness(datasets: &[DatasetView]) -> (bool, String) {
    let mut ready = true;
    let mut text = String::new();
    for dataset in datasets {
        let name = clean(&dataset.full_name().to_string());
        match obstacle(dataset) {
            None => text.push_str(&format!("[+] {name}: mounted at {}\n", clean(&dataset.at.to_string_lossy()))),
            Some(why) => {
                ready = false;
                text.push_str(&format!("[-] {name}: {why}\n"));
            }
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (ready, text)
}

/// Why a Dataset is not ready to be read.
fn obstacle(dataset: &DatasetView) -> Option<String> {
    let listed = dataset.status.catalog.generation > 0;
    if listed && dataset.mounted {
        return None;
    }
    let what = if listed { "not mounted" } else { "not listed yet" };
    let of = |kind: &str| dataset.status.conditions.iter().find(|c| c.type_ == kind && c.status != "True");
    let why = [conditions::dataset::ACCEPTED, conditions::dataset::STORES_REACHABLE, conditions::dataset::READY]
        .into_iter()
        .filter_map(of)
        .map(|condition| clean(&condition.message))
        .find(|message| !message.is_empty());
    Some(match (why, dataset.listing) {
        (Some(why), _) => format!("{what}: {why}"),
        (None, Some(seen)) => format!("{what}: {} seen so far", count(seen, "object")),
        (None, None) => what.to_owned(),
    })
}
