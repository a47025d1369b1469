#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod ahead;
mod catalogs;
mod consistency;
mod evicting;
mod held;
mod listing;
mod model;
mod parts;
mod prefetching;
mod sharing;
mod tiers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use forebay_cache::{BLOCK, Cache, CacheConfig, Medium, TierConfig};
use forebay_fetch::{FetchConfig, Fetcher};
use forebay_fs::{FsError, Handle, Node, ROOT_INO, Tree};
use forebay_store::UnderStore;
use forebay_store::failing::FailingStore;
use forebay_store::memory::MemoryStore;
use tokio::runtime::Handle as Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Catalogs, Consistency, Dataset, DatasetParts, Mount, Prefetch, Settings, Share};

/// Long enough for any machine; a test that gets here hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);

/// A store that outlives the agents which read it.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) memory: Arc<MemoryStore>,
    pub(super) failing: Arc<FailingStore>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self::named("memory://store")
    }

    pub(super) fn named(id: &str) -> Self {
        let memory = Arc::new(MemoryStore::new(id));
        Self { failing: Arc::new(FailingStore::new(memory.clone())), memory }
    }
}

/// A Dataset over that store, its cache and its life: one agent's run.
pub(super) struct Run {
    pub(super) dataset: Dataset,
    pub(super) cache: Cache,
    stop: CancellationToken,
    life: JoinHandle<()>,
    recovery: std::thread::JoinHandle<()>,
}

pub(super) fn settings() -> Settings {
    Settings {
        name: "ml/set".into(),
        consistency: Consistency::Snapshot,
        prefetch: Prefetch { concurrency: 4, ..Prefetch::default() },
        pins: Vec::new(),
        quota: None,
        ttl: None,
        listing_memory: 1 << 20,
    }
}

impl Run {
    /// Starts over what an earlier run left in `dir`; the tier has room for `blocks`.
    pub(super) fn start(dir: &Path, store: &Store, settings: Settings, blocks: u64) -> Self {
        Self::sharing(dir, store, settings, blocks, None)
    }

    /// The same, with the part of the data that `share` says.
    pub(super) fn sharing(dir: &Path, store: &Store, settings: Settings, blocks: u64, share: Option<Arc<dyn Share>>) -> Self {
        Self::with(dir, store, settings, blocks, share, None)
    }

    /// The same, with catalogs of other nodes.
    pub(super) fn with(
        dir: &Path,
        store: &Store,
        settings: Settings,
        blocks: u64,
        share: Option<Arc<dyn Share>>,
        catalogs: Option<Arc<dyn Catalogs>>,
    ) -> Self {
        let tier =
            TierConfig { name: "ssd".into(), medium: Medium::Disk, dir: dir.join("tier"), capacity: blocks * BLOCK, reserve: 0 };
        let cache = Cache::open(CacheConfig::new(vec![tier], dir.join("index"))).unwrap();
        Self::of(cache, dir, [store.failing.clone(), store.failing.clone()], settings, share, catalogs)
    }

    /// Over that cache. The stores are those of readers and of background work.
    fn of(
        cache: Cache,
        dir: &Path,
        [reader, background]: [Arc<dyn UnderStore>; 2],
        settings: Settings,
        share: Option<Arc<dyn Share>>,
        catalogs: Option<Arc<dyn Catalogs>>,
    ) -> Self {
        let recovered = cache.clone();
        let recovery = std::thread::spawn(move || drop(recovered.recover(&AtomicBool::new(false))));
        let config = FetchConfig { max_ahead: 2, ..FetchConfig::default() };
        let mount = Mount { path: "/".into(), reader, background, for_peers: None, include: Vec::new(), exclude: Vec::new() };
        let dataset = Dataset::open(DatasetParts {
            settings,
            mounts: vec![mount],
            cache: cache.clone(),
            fetcher: Fetcher::new(config, Runtime::current()),
            state_dir: dir.join("dataset"),
            share,
            catalogs,
        })
        .unwrap();
        let stop = CancellationToken::new();
        let life = tokio::spawn({
            let (dataset, stop) = (dataset.clone(), stop.clone());
            async move { dataset.run(stop).await }
        });
        Self { dataset, cache, stop, life, recovery }
    }

    /// Waits until a generation after `before` is served.
    pub(super) async fn listed_after(&self, before: u64) -> u64 {
        let mut generation = self.dataset.generation();
        *soon(generation.wait_for(|number| *number > before)).await.unwrap()
    }

    /// Waits until the status satisfies `what`.
    pub(super) async fn until(&self, what: impl Fn(&forebay_crds::DatasetStatus) -> bool) {
        soon(async {
            while !what(&self.dataset.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(super) fn find(&self, path: &str) -> Result<Node, FsError> {
        let names = path.split('/').filter(|name| !name.is_empty());
        let mut node = self.dataset.node(ROOT_INO)?;
        for name in names {
            node = self.dataset.lookup(node.ino, name.as_bytes())?;
        }
        Ok(node)
    }

    /// Opens as the kernel does: at `ESTALE` it walks the path once more.
    pub(super) async fn open(&self, path: &str) -> Result<Handle, FsError> {
        let opened = match soon(self.dataset.open(self.find(path)?.ino)).await {
            Err(FsError::Stale { .. }) => soon(self.dataset.open(self.find(path)?.ino)).await,
            opened => opened,
        };
        opened.map(|opened| opened.handle)
    }

    pub(super) async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        let mut buf = vec![0; len as usize];
        match self.dataset.try_read(handle, offset, &mut buf) {
            Some(read) => read.map(|read| Bytes::copy_from_slice(&buf[..read])),
            None => soon(self.dataset.read(handle, offset, len)).await,
        }
    }

    /// The whole file at `path`, opened and released.
    pub(super) async fn cat(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let handle = self.open(path).await?;
        let size = self.dataset.handle_node(handle)?.size;
        let read = self.read(handle, 0, u32::try_from(size).unwrap() + 1).await;
        self.dataset.release(handle);
        read.map(Vec::from)
    }

    /// Ends the life. With `cleanly` the cache is flushed and closed, else it ends as by a kill.
    pub(super) async fn end(self, cleanly: bool) {
        self.stop.cancel();
        soon(self.life).await.unwrap();
        if cleanly {
            self.cache.close()
        } else {
            self.cache.abandon()
        }
        // It may be at the directories, which are free for the next cache only then.
        let recovery = self.recovery;
        tokio::task::spawn_blocking(move || recovery.join().unwrap()).await.unwrap();
    }
}

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it hangs")
}

/// `size` bytes that differ between any two seeds and places.
pub(super) fn content(seed: u64, size: usize) -> Vec<u8> {
    let word = |index: u64| (index ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let mut bytes: Vec<u8> = (0..size.div_ceil(8) as u64).flat_map(word).collect();
    bytes.truncate(size);
    bytes
}
