//! `evict`: cached data dropped on all nodes, asked for by an annotation.

use anyhow::bail;
use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::names::{self, Eviction};
use forebay_crds::values::{TreePath, human};
use kube::ResourceExt as _;
use serde_json::json;

use crate::change::{fetched_again, listed};
use crate::cli::Evict;
use crate::cluster::Cluster;
use crate::wait::{End, until};
use crate::{patch, print};

pub(crate) async fn run(cluster: &Cluster, args: &Evict) -> anyhow::Result<()> {
    let Evict { name, paths, refetch, wait } = args;
    let id = Timestamp::now().to_string();
    let plan = |dataset: &Dataset| {
        let again = fetched_again(&dataset.spec, paths);
        if !again.is_empty() && !refetch {
            bail!(
                "spec.prefetch asks for {}, so that it would be fetched again at once: to free its space run `kubectl forebay prefetch {name} \
                 --off` first, to have it fetched anew add --refetch",
                listed(&again)
            );
        }
        let wish = wish(dataset, &id, paths);
        Ok((Some(json!({"metadata": {"annotations": {names::EVICT: wish.to_string()}}})), ()))
    };
    let (dataset, ()) = patch::change(cluster, name, plan).await?;
    let what = if paths.is_empty() { "all that is cached and not pinned".to_owned() } else { listed(paths) };
    print::line(&format!("Dataset {}/{name}: {what} is dropped on all nodes", cluster.namespace))?;
    let before = dataset.status.map_or(0, |status| status.cache.bytes);
    until(cluster, name, *wait, |dataset| evicted(dataset, &id, before)).await
}

/// The wish for `paths`, with those of a former wish that not all nodes have carried out yet: they may not have heard of it.
fn wish(dataset: &Dataset, id: &str, paths: &[TreePath]) -> Eviction {
    let handled = dataset.status.as_ref().and_then(|status| status.handled.evict.as_deref());
    let former: Option<Eviction> = dataset.annotations().get(names::EVICT).and_then(|wish| wish.parse().ok());
    let pending = former.filter(|former| handled != Some(&former.id));
    let all = paths.is_empty() || pending.as_ref().is_some_and(|former| former.paths.is_empty());
    let mut wished = if all { Vec::new() } else { paths.to_vec() };
    for path in pending.iter().filter(|_| !all).flat_map(|former| &former.paths) {
        if !wished.contains(path) {
            wished.push(path.clone());
        }
    }
    Eviction { id: id.to_owned(), paths: wished }
}

fn evicted(dataset: &Dataset, id: &str, before: u64) -> Option<End> {
    let status = dataset.status.as_ref()?;
    let done = status.handled.evict.as_deref() == Some(id);
    done.then(|| End::Done(format!("done: {} cached, before it was {}", human(status.cache.bytes), human(before))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    fn dataset(annotation: Option<&str>, handled: Option<&str>) -> Dataset {
        serde_json::from_value(json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
            "metadata": {"name": "a", "namespace": "ml", "annotations": annotation.map(|wish| json!({names::EVICT: wish}))},
            "spec": {"mounts": [{"path": "/", "source": "s3://bucket"}]},
            "status": {"handled": {"evict": handled}}
        }))
        .unwrap()
    }

    #[test]
    fn a_wish_that_is_not_carried_out_yet_is_not_forgotten() {
        type Row = (Option<&'static str>, Option<&'static str>, &'static [&'static str], &'static str);
        let table: [Row; 7] = [
            (None, None, &["/a"], "new\n/a"),
            (None, None, &[], "new"),
            (Some("old\n/b"), Some("old"), &["/a"], "new\n/a"),
            (Some("old\n/b\n/a"), None, &["/a"], "new\n/a\n/b"),
            (Some("old"), Some("older"), &["/a"], "new"),
            (Some("old\n/b"), None, &[], "new"),
            (Some("old\nnonsense"), None, &["/a"], "new\n/a"),
        ];
        for (annotation, handled, paths, expected) in table {
            let paths: Vec<TreePath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            assert_eq!(wish(&dataset(annotation, handled), "new", &paths).to_string(), expected, "{annotation:?} {handled:?}");
        }
    }

    #[test]
    fn it_is_done_when_all_nodes_say_so() {
        assert_eq!(evicted(&dataset(None, Some("older")), "new", 7), None);
        assert!(matches!(evicted(&dataset(None, Some("new")), "new", 7), Some(End::Done(words)) if words.contains("0B cached")));
    }
}
