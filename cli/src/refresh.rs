//! `refresh`: a new listing, asked for by an annotation.

use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::names;
use serde_json::json;

use crate::cli::Refresh;
use crate::cluster::Cluster;
use crate::wait::{End, until};
use crate::{patch, print};

pub(crate) async fn run(cluster: &Cluster, args: &Refresh) -> anyhow::Result<()> {
    let Refresh { name, wait } = args;
    let wish = Timestamp::now().to_string();
    let annotation = json!({"metadata": {"annotations": {names::REFRESH: wish}}});
    patch::change(cluster, name, |_| Ok((Some(annotation.clone()), ()))).await?;
    print::line(&format!("Dataset {}/{name} is listed anew", cluster.namespace))?;
    until(cluster, name, *wait, |dataset| listed(dataset, &wish)).await
}

fn listed(dataset: &Dataset, wish: &str) -> Option<End> {
    let status = dataset.status.as_ref()?;
    let listed = status.handled.refresh.as_deref() == Some(wish);
    listed.then(|| End::Done(format!("done: {} files, {}", status.catalog.files, status.summary.size)))
}
