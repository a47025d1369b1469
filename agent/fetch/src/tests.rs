#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod faults;
mod reading;
mod streams;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use forebay_cache::index::SledIndex;
use forebay_cache::io::{DiskIo, FailingIo, Faults};
use forebay_cache::{BLOCK, Cache, CacheConfig, DatasetPolicy, Landing, Medium, ObjectId, Parts, TierConfig};
use forebay_store::failing::FailingStore;
use forebay_store::memory::MemoryStore;
use forebay_store::{ObjectMeta, UnderStore};
use tokio::runtime::Handle;

use crate::{FetchConfig, Fetcher, Remote};

/// Long enough for any machine; a test that gets here hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A store that counts and fails on command, a cache, and the fetcher between them.
pub(super) struct Bench {
    pub(super) memory: Arc<MemoryStore>,
    pub(super) store: Arc<FailingStore>,
    pub(super) cache: Cache,
    pub(super) fetcher: Fetcher,
    pub(super) policy: DatasetPolicy,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(FetchConfig::default())
    }

    pub(super) fn with(config: FetchConfig) -> Self {
        Self::on(config, Faults::default())
    }

    /// With a disk that fails on command.
    pub(super) fn on(config: FetchConfig, faults: Faults) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tier = TierConfig {
            name: "ssd".into(),
            medium: Medium::Disk,
            dir: dir.path().join("tier"),
            capacity: 256 * BLOCK,
            reserve: 0,
        };
        let disk = FailingIo::new(Arc::new(DiskIo::new(&tier.dir)), faults);
        let cache = CacheConfig::new(vec![tier], dir.path().join("index"));
        let index = Arc::new(SledIndex::new(&cache.index_dir));
        let cache = Cache::open_with(&cache, Parts { ios: vec![Arc::new(disk)], index, threads: true }).unwrap();
        let memory = Arc::new(MemoryStore::new("memory://bench"));
        let store = Arc::new(FailingStore::new(memory.clone()));
        Self {
            memory,
            store,
            cache,
            fetcher: Fetcher::new(config, Handle::current()),
            policy: DatasetPolicy::default(),
            _dir: dir,
        }
    }

    /// Puts an object of `size` bytes that no two places of which look alike.
    pub(super) fn put(&self, key: &str, size: u64) -> (Vec<u8>, Remote) {
        let bytes = content(key, size);
        let meta = self.memory.put(key, bytes.clone());
        (bytes, self.remote(&meta))
    }

    pub(super) fn remote(&self, meta: &ObjectMeta) -> Remote {
        let dataset = self.cache.set_dataset("ml/bench", self.policy.clone());
        let token = meta.version.to_token();
        let id = ObjectId::derive(self.store.id().as_str(), &meta.key, token.as_bytes(), meta.size);
        Remote {
            reader: self.store.clone(),
            background: self.store.clone(),
            key: meta.key.clone(),
            version: meta.version.clone(),
            object: self.cache.object(dataset, id, meta.size),
            landing: Landing::default(),
            label: "dataset ml/bench, mount /".into(),
        }
    }

    /// Brings all of `remote` in and returns what was counted.
    pub(super) async fn fill(&self, remote: Remote) -> (Result<crate::Filled, crate::FetchError>, u64) {
        let progress = AtomicU64::new(0);
        let filled = soon(self.fetcher.fill(&Arc::new(remote), &progress)).await;
        (filled, progress.into_inner())
    }
}

/// Every 8 bytes hold their own position and the key's length, so that misplaced bytes show.
fn content(key: &str, size: u64) -> Vec<u8> {
    let word = |index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(key.len() as u64).to_le_bytes();
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(word).collect();
    bytes.truncate(usize::try_from(size).unwrap());
    bytes
}

/// Waits for `future` within the deadline.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it hangs")
}
