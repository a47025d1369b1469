//! `status`: how Datasets do.

use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::details;
use futures::TryFutureExt as _;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::cli::{Output, Status};
use crate::cluster::{Cluster, told};
use crate::follow::follow;
use crate::print;
use crate::progress::Progress;

mod json;
mod table;

pub(crate) async fn run(cluster: &Cluster, args: &Status) -> anyhow::Result<()> {
    let Status { name, all_namespaces, watch, output } = args;
    let api = if *all_namespaces { Api::all(cluster.client.clone()) } else { cluster.datasets() };
    if *watch {
        if let Some(name) = name {
            cluster.dataset(name).await?;
        }
        let mut progress = Progress::new();
        return follow(api, name.as_deref(), |datasets| progress.show(datasets).map(|()| None)).await;
    }
    let datasets = match name {
        Some(name) => vec![cluster.dataset(name).await?],
        None => api.list(&ListParams::default()).map_err(told).await?.items,
    };
    let place = if *all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", cluster.namespace) };
    print::text(&match output {
        Output::Json => json::json(datasets)?,
        Output::Text if datasets.is_empty() => format!("No Datasets in {place}.\n"),
        Output::Text => text(&datasets, name.is_some(), *all_namespaces, Timestamp::now()),
    })
}

/// The table, and below it of one Dataset all that is known, of many what is not well.
fn text(datasets: &[Dataset], one: bool, namespaces: bool, now: Timestamp) -> String {
    let mut text = table::table(datasets, namespaces, now);
    for dataset in datasets {
        let Some(status) = &dataset.status else { continue };
        let lines = if one { details(status, None, now) } else { table::not_well(status) };
        if !lines.is_empty() {
            text.push_str(&format!("\n{}/{}\n{lines}", dataset.namespace().unwrap_or_default(), dataset.name_any()));
        }
    }
    text
}

#[cfg(test)]
mod tests;
