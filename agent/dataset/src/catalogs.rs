//! Catalogs of other nodes in place of a listing of one's own, and what the others get.

use std::fmt::Debug;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use forebay_catalog::{Adoption, Incoming, MountSpec};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::dataset::{Dataset, Inner, Writing};
use crate::generation::Generation;
use crate::life::CALM;
use crate::listing::ListingError;
use crate::{Mount, schedule};

/// How new a catalog must be to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its listing began no earlier; `None`: whenever.
    pub since: Option<Instant>,
    /// Or it was made for this wish, whenever that was.
    pub wish: Option<String>,
}

/// The other nodes that show the same tree.
#[async_trait]
pub trait Catalogs: Debug + Send + Sync {
    /// Writes a catalog of another node that does to `into`, and gives the time since its listing began; `None`: there is none to be had,
    /// and this node is to list. `tree` is [`Dataset::tree`]; `seen` is told how many objects the listing waited for has seen.
    async fn take(&self, tree: &str, fresh: &Fresh, into: File, seen: &AtomicU64) -> Option<Duration>;
}

/// A catalog for another node.
#[derive(Debug)]
pub struct Catalog {
    /// Its file, at the beginning.
    pub file: File,
    /// The file's length in bytes.
    pub len: u64,
    /// Time since its listing began.
    pub age: Duration,
}

/// Why another node gets no catalog.
#[derive(Debug, PartialEq, Eq)]
pub enum NoCatalog {
    /// It cannot be listed here.
    Never,
    /// There is none that does, and it was not to be waited for.
    NotNow,
    /// It is being listed, and so many objects were seen.
    NotYet(u64),
}

/// Another node waits so long for a catalog before it is told that there is none yet.
const PATIENCE: Duration = Duration::from_secs(8);
/// A node that wants a newer tree than there is may have heard of a wish first that this one is about to hear of.
const HEARSAY: Duration = Duration::from_secs(2);

/// Stands for a tree of these mounts.
pub(crate) fn tree_of(dataset: &str, mounts: &[MountSpec]) -> String {
    let described = serde_json::to_vec(&(dataset, mounts)).unwrap_or_default();
    blake3::hash(&described).to_hex().to_string()
}

impl Dataset {
    /// Stands for the tree's mounts: nodes that have the same give each other catalogs.
    pub fn tree(&self) -> &str {
        &self.inner.tree
    }

    /// What another node gets that wants a catalog of this tree. With `held` nobody waits. Where a newer one is wanted than there is, and
    /// none is being listed, it is listed: one node does it for all.
    ///
    /// # Errors
    /// [`NoCatalog`]
    pub async fn catalog_for_peer(&self, fresh: &Fresh, held: bool) -> Result<Catalog, NoCatalog> {
        let inner = &self.inner;
        let (arrived, mut wished) = (Instant::now(), false);
        let mut generation = self.generation();
        loop {
            generation.borrow_and_update();
            // In this order: what answers a wish is there before the wish counts as answered.
            let answers = fresh.wish.as_ref().is_some_and(|wish| inner.wishes.has_answered(wish));
            let does = |current: &Arc<Generation>| answers || fresh.since.is_none_or(|since| current.age() <= since.elapsed());
            if let Some(current) = inner.generations.current().filter(does) {
                return open(&current);
            }
            if held {
                return Err(NoCatalog::NotNow);
            }
            let (listing, failed) = {
                let state = inner.state();
                (state.listing, state.listing_failure.is_some())
            };
            if failed && !listing {
                return Err(NoCatalog::Never);
            }
            let waited = arrived.elapsed();
            if waited >= PATIENCE {
                return Err(NoCatalog::NotYet(inner.listed.load(Ordering::Relaxed)));
            }
            // Of many that complain of one changed object each may come a moment after the last listing began.
            let calm = fresh.wish.is_some() || inner.age() >= CALM;
            if waited >= HEARSAY && calm && !listing && !std::mem::replace(&mut wished, true) && inner.wishes.open().is_none() {
                self.refresh(fresh.wish.clone());
            }
            let _ = timeout(Duration::from_millis(200), generation.changed()).await;
        }
    }
}

impl Inner {
    /// Which catalog of another node does now.
    pub(crate) fn how_fresh(&self) -> Fresh {
        if let Some(fresh) = self.wishes.open() {
            return fresh;
        }
        // Where there is none, one does that is not due. Else one that is due soon does not: it would be due everywhere at once.
        let oldest = self.settings.consistency.relist_after().map(|age| match self.generations.current() {
            None => age,
            Some(_) => age / 2,
        });
        Fresh { since: oldest.map(|age| Instant::now().checked_sub(age).unwrap_or_else(Instant::now)), wish: None }
    }

    /// Takes a catalog of another node as generation `number`; `None`: this node is to list.
    pub(crate) async fn take_from_others(&self, number: u32, fresh: &Fresh, writing: Writing) -> Option<Arc<Generation>> {
        let taken = self.try_to_take(number, fresh, writing).await;
        taken.unwrap_or_else(|error| {
            warn!(dataset = self.settings.name, %error, "another node's catalog cannot be used; the stores are listed");
            None
        })
    }

    async fn try_to_take(&self, number: u32, fresh: &Fresh, writing: Writing) -> Result<Option<Arc<Generation>>, ListingError> {
        let Some(others) = &self.catalogs else { return Ok(None) };
        let incoming = Incoming::new(&self.generations.path(number))?;
        let Some(age) = others.take(&self.tree, fresh, incoming.file()?, &self.listed).await else { return Ok(None) };
        let adoption = Adoption {
            dataset: self.settings.name.clone(),
            mounts: self.mounts.iter().map(Mount::spec).collect(),
            generation: u64::from(number),
            listed_at_ns: schedule::nanoseconds(SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH)),
        };
        let adopted = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            incoming.adopt(adoption)
        });
        let catalog = adopted.await??;
        self.expect_fill();
        let generation = self.generations.install(catalog, number)?;
        info!(dataset = self.settings.name, generation = number, "the tree as another node listed it");
        Ok(Some(generation))
    }
}

fn open(current: &Generation) -> Result<Catalog, NoCatalog> {
    // It may have been removed since; the next is on its way then.
    let file = File::open(current.catalog.path()).map_err(|_| NoCatalog::NotYet(0))?;
    Ok(Catalog { file, len: current.catalog.file_len(), age: current.age() })
}
