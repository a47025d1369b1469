//! Catalogs of the other agents, and those that they get from here.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use forebay_api::DatasetName;
use forebay_crds::dataset::DatasetSpec;
use forebay_crds::values::SourceKind;
use forebay_dataset::{Catalog, Catalogs, Dataset, Fresh, NoCatalog};
use forebay_peers::{AskedCatalog, BodyError, CatalogAnswer, Net, Refusal, WantedCatalog};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::ReaderStream;

/// Bytes of a catalog read at a time.
const PIECE: usize = 256 << 10;

/// Where a Dataset's catalogs come from before its stores are listed. A directory of the node may be another one on each node: such trees
/// are listed by each.
pub(in crate::cluster) fn of_others(net: &Arc<Net>, dataset: &DatasetName, spec: &DatasetSpec) -> Option<Arc<dyn Catalogs>> {
    if spec.mounts.iter().any(|mount| matches!(mount.source.kind(), SourceKind::File { .. })) {
        return None;
    }
    Some(Arc::new(Others { net: net.clone(), dataset: dataset.to_string() }))
}

#[derive(Debug)]
struct Others {
    net: Arc<Net>,
    dataset: String,
}

#[async_trait]
impl Catalogs for Others {
    async fn take(&self, tree: &str, fresh: &Fresh, into: File, seen: &AtomicU64) -> Option<Duration> {
        let Fresh { since, wish } = fresh.clone();
        let wanted = WantedCatalog { dataset: self.dataset.clone(), tree: tree.to_owned(), since, wish };
        self.net.catalog(&wanted, into, seen).await
    }
}

/// What another agent gets that asks for a catalog of this Dataset.
pub(super) async fn give(dataset: &Dataset, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
    let since = asked.within.map(|within| Instant::now().checked_sub(within).unwrap_or_else(Instant::now));
    let fresh = Fresh { since, wish: asked.wish.clone() };
    match dataset.catalog_for_peer(&asked.tree, &fresh, asked.held).await {
        Ok(Catalog { file, len, age }) => {
            let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
            Ok(CatalogAnswer::Here { pieces: pieces.map_err(BodyError::from).boxed(), len, age })
        }
        Err(NoCatalog::NotYet(seen)) => Ok(CatalogAnswer::NotYet { seen }),
        Err(NoCatalog::NotNow) => Err(Refusal::NotHeld),
        Err(NoCatalog::Never) => Err(Refusal::NotListed),
    }
}
