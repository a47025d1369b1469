use std::sync::Arc;

use anyhow::{anyhow, bail};
use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::words::because;
use forebay_crds::{Dataset, DatasetStatus};

use crate::cli::Wait;
use crate::cluster::Cluster;
use crate::follow::follow;
use crate::print;
use crate::progress::Progress;

/// How something that is waited for has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Well: what came of it.
    Done(String),
    /// It will not come: why not.
    Never(String),
}

/// Waits, when the user wants to, until `ended` says so of the Dataset, and shows its progress.
pub(crate) async fn until(
    cluster: &Cluster,
    name: &str,
    wait: Wait,
    ended: impl Fn(&Dataset) -> Option<End>,
) -> anyhow::Result<()> {
    let Wait { wait, timeout } = wait;
    if !wait {
        return Ok(());
    }
    let mut progress = Progress::new();
    let mut last = String::new();
    let look = follow(cluster.datasets(), Some(name), |datasets: &[Arc<Dataset>]| {
        let [dataset] = datasets else { bail!("Dataset {name} was deleted") };
        progress.show(datasets)?;
        last = dataset.status.as_ref().map(because).unwrap_or_default();
        Ok(ended(dataset))
    });
    let end = match timeout {
        Some(limit) => tokio::time::timeout(*limit, look).await,
        None => Ok(look.await),
    };
    progress.end();
    match end {
        Ok(Ok(End::Done(what))) => print::line(&what),
        Ok(Ok(End::Never(why))) => Err(anyhow!(why)),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let limit = timeout.map(|limit| limit.to_string()).unwrap_or_default();
            Err(anyhow!("not done after {limit}, it goes on; see `kubectl forebay doctor {name}`{last}"))
        }
    }
}

/// Whether all that the spec of `generation` asks for ahead is cached on all nodes.
pub(crate) fn fetched(dataset: &Dataset, generation: i64) -> Option<End> {
    let status = dataset.status.as_ref()?;
    let current = status.observed_generation.is_some_and(|observed| observed >= generation);
    // What a node says of an older spec does not count: it is Ready when all nodes have taken up the newest.
    if !current || !holds(status, kind::READY) {
        return None;
    }
    if holds(status, kind::PREFETCHED) {
        return Some(End::Done(format!("done: {} of {} cached", status.summary.cached, status.summary.size)));
    }
    // It stays so until the spec changes; everything else passes.
    let full = status.conditions.iter().find(|c| c.type_ == kind::PREFETCHED && c.reason == reason::OUT_OF_SPACE);
    full.map(|condition| End::Never(condition.message.clone()))
}

fn holds(status: &DatasetStatus, kind: &str) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use serde_json::json;

    use super::*;

    fn dataset(observed: i64, conditions: &[(&str, &str, &str)]) -> Dataset {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": "why", "lastTransitionTime": "1970-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "a", "namespace": "ml"},
            "spec": {"mounts": [{"path": "/", "source": "s3://bucket"}]},
            "status": {"observedGeneration": observed, "conditions": conditions}
        }))
        .unwrap()
    }

    #[test]
    fn it_is_fetched_when_every_node_says_so_of_the_newest_spec() {
        let (ready, prefetched) = (("Ready", "True", "AsDesired"), ("Prefetched", "True", "AsDesired"));
        assert_eq!(fetched(&dataset(6, &[ready, prefetched]), 7), None, "an older spec");
        assert_eq!(fetched(&dataset(7, &[("Ready", "False", "Starting"), prefetched]), 7), None, "a node has not taken it up");
        assert_eq!(fetched(&dataset(7, &[ready, ("Prefetched", "False", "Prefetching")]), 7), None);
        assert!(matches!(fetched(&dataset(7, &[ready, prefetched]), 7), Some(End::Done(_))));
        let never = fetched(&dataset(8, &[ready, ("Prefetched", "False", "OutOfSpace")]), 7);
        assert_eq!(never, Some(End::Never("why".into())));
    }
}
