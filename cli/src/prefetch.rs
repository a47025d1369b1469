//! `prefetch` and `pin`: changes of the spec.

use forebay_crds::Dataset;
use forebay_crds::values::TreePath;

use crate::change::{self, Change, kept_elsewhere};
use crate::cli::{Pin, Prefetch, Wait};
use crate::cluster::Cluster;
use crate::wait::{fetched, until};
use crate::{patch, print};

pub(crate) async fn run(cluster: &Cluster, args: &Prefetch) -> anyhow::Result<()> {
    let Prefetch { name, paths, off, wait } = args;
    let all = [TreePath::root()];
    let paths = if paths.is_empty() { &all[..] } else { &paths[..] };
    let plan = |dataset: &Dataset| match off {
        true => Ok(change::prefetch_nothing(&dataset.spec)),
        false => change::prefetch(&dataset.spec, paths),
    };
    apply(cluster, name, *wait, plan).await
}

pub(crate) async fn pin(cluster: &Cluster, args: &Pin) -> anyhow::Result<()> {
    let Pin { name, paths, remove, wait } = args;
    let plan = |dataset: &Dataset| match remove {
        true => change::unpin(&dataset.spec, paths),
        false => change::pin(&dataset.spec, paths),
    };
    apply(cluster, name, *wait, plan).await
}

async fn apply(
    cluster: &Cluster,
    name: &str,
    wait: Wait,
    plan: impl Fn(&Dataset) -> anyhow::Result<Change>,
) -> anyhow::Result<()> {
    let planned = |dataset: &Dataset| {
        let Change { patch, words } = plan(dataset)?;
        let hint = patch.as_ref().and_then(|_| kept_elsewhere(dataset));
        Ok((patch, (words, hint)))
    };
    let (dataset, (words, hint)) = patch::change(cluster, name, planned).await?;
    print::line(&format!("Dataset {}/{name}: {words}", cluster.namespace))?;
    if let Some(hint) = hint {
        print::line(&hint)?;
    }
    let generation = dataset.metadata.generation.unwrap_or(0);
    until(cluster, name, wait, |dataset| fetched(dataset, generation)).await
}
