//! Catalogs of the other agents, and those that they get from here.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use forebay_api::session::DatasetState;
use forebay_crds::values::SourceKind;
use forebay_dataset::{Catalog, Catalogs, Dataset, Fresh, NoCatalog};
use forebay_peers::{AskedCatalog, BodyError, CatalogAnswer, Net, Refusal, WantedCatalog};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::ReaderStream;

use crate::cluster::hosted::Hosted;

/// Bytes of a catalog read at a time.
const PIECE: usize = 256 << 10;

/// Where a Dataset's catalogs come from before its stores are listed. A directory of the node may be another one on each node: such trees
/// are listed by each.
pub(in crate::cluster) fn of_others(net: &Arc<Net>, desired: &DatasetState) -> Option<Arc<dyn Catalogs>> {
    if desired.spec.mounts.iter().any(|mount| matches!(mount.source.kind(), SourceKind::File { .. })) {
        return None;
    }
    Some(Arc::new(Others { net: net.clone(), dataset: desired.dataset.to_string(), uid: desired.uid.clone() }))
}

/// The tree of this very Dataset: one that was deleted and made anew under its name shows what is listed for it.
fn tree_of(uid: &str, tree: &str) -> String {
    format!("{uid}/{tree}")
}

#[derive(Debug)]
struct Others {
    net: Arc<Net>,
    dataset: String,
    uid: String,
}

#[async_trait]
impl Catalogs for Others {
    async fn take(&self, tree: &str, fresh: &Fresh, into: File, seen: &AtomicU64) -> Option<Duration> {
        let Fresh { since, wish } = fresh.clone();
        let wanted = WantedCatalog { dataset: self.dataset.clone(), tree: tree_of(&self.uid, tree), since, wish };
        self.net.catalog(&wanted, into, seen).await
    }
}

/// The Dataset if its tree is this one, and it is at work.
pub(super) fn with_tree(hosted: &Hosted, tree: &str) -> Option<Dataset> {
    hosted.for_peers().filter(|dataset| hosted.is_at_work() && tree_of(&hosted.uid, dataset.tree()) == tree)
}

/// What another agent gets that asks for a catalog of this Dataset.
pub(super) async fn give(dataset: &Dataset, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
    let since = asked.within.map(|within| Instant::now().checked_sub(within).unwrap_or_else(Instant::now));
    let fresh = Fresh { since, wish: asked.wish.clone() };
    match dataset.catalog_for_peer(&fresh, asked.held).await {
        Ok(Catalog { file, len, age }) => {
            let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
            Ok(CatalogAnswer::Here { pieces: pieces.map_err(BodyError::from).boxed(), len, age })
        }
        Err(NoCatalog::NotYet(seen)) => Ok(CatalogAnswer::NotYet { seen }),
        Err(NoCatalog::NotNow) => Err(Refusal::NotHeld),
        Err(NoCatalog::Never) => Err(Refusal::NotListed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use forebay_api::DatasetName;
    use forebay_cache::{Medium, TierConfig};
    use forebay_crds::dataset::{DatasetSpec, Mount};
    use tokio::runtime::Handle;

    use super::*;
    use crate::cluster::kept::Handled;
    use crate::cluster::node::Node;
    use crate::cluster::peers;
    use crate::cluster::table::Table;
    use crate::state::StateDir;

    fn desired(uid: &str, source: &str) -> DatasetState {
        let mount = Mount::of("/".parse().unwrap(), source.parse().unwrap());
        DatasetState {
            dataset: DatasetName::new("ml", "set"),
            uid: uid.into(),
            generation: 1,
            spec: DatasetSpec::of(vec![mount]),
            secrets: Vec::new(),
            refresh: None,
            evict: None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_catalog_is_of_one_dataset_and_its_mounts_and_not_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let tier =
            TierConfig { name: "ssd".into(), medium: Medium::Disk, dir: dir.path().join("tier"), capacity: 8 << 20, reserve: 0 };
        let state = StateDir::take(&dir.path().join("state")).unwrap();
        let net = peers::net("default", "n1", None);
        let table = Arc::new(Table::new("default".into(), Handle::current()));
        let node = Node::open(vec![tier], &state, 64, table, net.clone()).unwrap();
        let host = |uid: &str, source: &str| {
            let desired = desired(uid, source);
            let dataset = node.dataset(&desired, &[], dir.path().join(uid), Vec::new());
            let hosted = Arc::new(Hosted::new(desired.clone(), Handled::default()));
            hosted.work(desired, dataset);
            hosted
        };
        let (one, anew) = (host("1", "http://127.0.0.1:9/a/"), host("2", "http://127.0.0.1:9/a/"));
        let other = host("3", "http://127.0.0.1:9/b/");
        let tree = |hosted: &Hosted| tree_of(&hosted.uid, hosted.for_peers().unwrap().tree());
        for (hosted, asked, given) in [(&one, &one, true), (&one, &anew, false), (&one, &other, false), (&other, &other, true)] {
            assert_eq!(with_tree(hosted, &tree(asked)).is_some(), given);
        }
        assert_eq!(one.for_peers().unwrap().tree(), anew.for_peers().unwrap().tree());
        assert_ne!(one.for_peers().unwrap().tree(), other.for_peers().unwrap().tree());
        assert!(of_others(&net, &desired("1", "http://127.0.0.1:9/a/")).is_some());
        assert!(of_others(&net, &desired("1", "file:///data")).is_none());
        for hosted in [one, anew, other] {
            hosted.rest().await;
            assert!(with_tree(&hosted, &tree(&hosted)).is_none(), "it does not list any more");
        }
    }
}
