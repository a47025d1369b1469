use std::sync::Arc;
use std::time::Duration;

use crate::index::{Index, MemoryIndex};
use crate::io::{FailingIo, Faults, MemoryIo, TierIo};
use crate::*;

/// A cache whose disks are this process's memory: restarts, damage and faults at will.
pub(super) struct Bench {
    pub(super) config: CacheConfig,
    pub(super) clock: Arc<ManualClock>,
    pub(super) disks: Vec<MemoryIo>,
    pub(super) faults: Vec<Faults>,
    pub(super) index: MemoryIndex,
    cache: Option<Cache>,
}

pub(super) fn tier(name: &str, capacity: u64) -> TierConfig {
    TierConfig { name: name.into(), medium: Medium::Memory, dir: format!("/nowhere/{name}").into(), capacity, reserve: 0 }
}

impl Bench {
    /// Tiers of so many blocks each, besides what the cache itself needs; named t0, t1, ...
    pub(super) fn new(blocks: &[u64]) -> Self {
        Self::with_attributes(blocks, true)
    }

    pub(super) fn with_attributes(blocks: &[u64], attributes: bool) -> Self {
        let clock = Arc::new(ManualClock::new(Duration::from_secs(1_700_000_000)));
        let sizes = blocks.iter().map(|blocks| (blocks + 2) * BLOCK);
        let tiers: Vec<TierConfig> = sizes.enumerate().map(|(n, size)| tier(&format!("t{n}"), size)).collect();
        let mut config = CacheConfig::new(tiers, "/nowhere/index");
        config.clock = clock.clone();
        let disks: Vec<MemoryIo> = config.tiers.iter().map(|tier| MemoryIo::new(tier.capacity * 2, attributes)).collect();
        let faults = disks.iter().map(|_| Faults::default()).collect();
        let mut bench = Self { config, clock, disks, faults, index: MemoryIndex::default(), cache: None };
        bench.open();
        bench
    }

    pub(super) fn open(&mut self) {
        let ios = self.disks.iter().zip(&self.faults);
        let ios = ios
            .map(|(disk, faults)| Arc::new(FailingIo::new(Arc::new(disk.clone()), faults.clone())) as Arc<dyn TierIo>)
            .collect();
        let index: Arc<dyn Index> = Arc::new(self.index.clone());
        self.cache = Some(Cache::open_with(&self.config, Parts { ios, index, threads: false }).unwrap());
    }

    /// Ends the cache and opens it again on the same disks.
    pub(super) fn restart(&mut self) {
        self.cache.take().unwrap().close();
        self.open();
    }

    /// Ends it without flushing anything.
    pub(super) fn kill(&mut self) {
        self.cache.take().unwrap().abandon();
    }

    pub(super) fn cache(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    pub(super) fn recover(&self) -> RecoverReport {
        self.cache().recover(&std::sync::atomic::AtomicBool::new(false)).unwrap()
    }

    pub(super) fn dataset(&self, name: &str) -> DatasetId {
        self.cache().set_dataset(name, DatasetPolicy::default())
    }
}

/// The right bytes of a block of the object named `key`: no two blocks are alike, nor two pages of one.
pub(super) fn bytes(key: u64, size: u64, block: u32) -> Vec<u8> {
    let seed = crate::policy::mix(key.wrapping_mul(1_000_003) + u64::from(block));
    let page: Vec<u8> = (0..512).flat_map(|n| crate::policy::mix(seed + n).to_le_bytes()).collect();
    let mut data = page.repeat(256);
    for (n, page) in data.chunks_mut(4096).enumerate() {
        page[..8].copy_from_slice(&(seed ^ n as u64).to_le_bytes());
    }
    data.truncate(block_len(size, block) as usize);
    data
}

pub(super) fn id(key: u64, size: u64) -> ObjectId {
    ObjectId::derive("test://", &key.to_string(), b"1", size)
}

pub(super) fn object(cache: &Cache, dataset: DatasetId, key: u64, size: u64) -> Object {
    cache.object(dataset, id(key, size), size)
}

/// Inserts the right bytes.
pub(super) fn insert(object: &Object, key: u64, block: u32) -> Inserted {
    object.insert(block, &bytes(key, object.size(), block), Landing::default())
}

pub(super) fn is_stored(inserted: &Inserted) -> bool {
    matches!(inserted, Inserted::Stored { .. })
}

/// Reads a whole block; whether it was there. Panics when it is wrong.
pub(super) fn check(object: &Object, key: u64, block: u32) -> bool {
    let expected = bytes(key, object.size(), block);
    let mut buf = vec![0xaa; expected.len()];
    match object.read_at(u64::from(block) * BLOCK, &mut buf) {
        Read::Miss { block: missed } => {
            assert_eq!(missed, block);
            false
        }
        Read::Hit(n) => {
            assert_eq!(n, expected.len());
            assert!(buf == expected, "wrong bytes of object {key} block {block}");
            true
        }
    }
}
