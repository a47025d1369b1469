use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::*;

/// Names a Dataset in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatasetId(pub(crate) u16);

/// The cache of one node; cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    config: CacheConfig,
    tier: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    datasets: Vec<String>,
    objects: HashMap<ObjectId, Entry>,
    used: u64,
    stats: Stats,
}

#[derive(Default)]
struct Entry {
    dataset: u16,
    pinned: bool,
    blocks: BTreeSet<u32>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn path(&self, id: ObjectId) -> std::path::PathBuf {
        self.config.tiers[0].dir.join(id.hex())
    }
}

impl Cache {
    /// Opens the cache without scanning it.
    pub fn open(config: CacheConfig) -> Result<Cache, CacheError> {
        config.validate()?;
        let _ = std::fs::create_dir_all(&config.tiers[0].dir);
        let tier = config.tiers[0].name.as_str().into();
        Ok(Cache(Arc::new(Inner { config, tier, state: Mutex::default() })))
    }

    /// Scans the tiers and makes index, accounts and files agree. Blocks; run it on a thread of its own.
    pub fn recover(&self, _stop: &AtomicBool) -> Result<RecoverReport, CacheError> {
        Ok(RecoverReport::default())
    }

    /// Declares a Dataset, or changes its policy.
    pub fn set_dataset(&self, name: &str, _policy: DatasetPolicy) -> DatasetId {
        let mut state = self.0.lock();
        let at = state.datasets.iter().position(|n| n == name).unwrap_or_else(|| {
            state.datasets.push(name.to_owned());
            state.datasets.len() - 1
        });
        DatasetId(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// Frees everything that a Dataset has cached, pinned or not; the bytes freed.
    pub fn remove_dataset(&self, name: &str) -> u64 {
        let mut state = self.0.lock();
        let Some(at) = state.datasets.iter().position(|n| n == name) else { return 0 };
        let ids: Vec<_> = state.objects.iter().filter(|(_, e)| usize::from(e.dataset) == at).map(|(id, _)| *id).collect();
        let before = state.used;
        for id in ids {
            state.objects.remove(&id);
            if let Ok(meta) = std::fs::metadata(self.0.path(id)) {
                state.used = state.used.saturating_sub(meta.len());
            }
            let _ = std::fs::remove_file(self.0.path(id));
        }
        before - state.used
    }

    /// A handle to an object of `size` bytes, cached or not. Cheap.
    pub fn object(&self, dataset: DatasetId, id: ObjectId, size: u64) -> Object {
        Object { cache: self.0.clone(), dataset, id, size }
    }

    /// What is used.
    pub fn usage(&self) -> Usage {
        let state = self.0.lock();
        let tier = &self.0.config.tiers[0];
        Usage {
            tiers: vec![TierUsage {
                name: tier.name.clone(),
                medium: tier.medium,
                capacity: tier.capacity,
                charged: state.used,
                bytes: state.used,
                pinned: 0,
                objects: state.objects.len() as u64,
                blocks: state.objects.values().map(|e| e.blocks.len() as u64).sum(),
            }],
            datasets: BTreeMap::new(),
        }
    }

    /// How the tiers do.
    pub fn health(&self) -> Vec<TierHealth> {
        Vec::new()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.0.lock().stats.clone()
    }

    /// Writes what the index lacks.
    pub fn flush(&self) {}

    /// Flushes and ends the cache.
    pub fn close(self) {}
}

/// A handle to one version of one object.
#[derive(Clone)]
pub struct Object {
    cache: Arc<Inner>,
    dataset: DatasetId,
    id: ObjectId,
    size: u64,
}

impl Object {
    /// Its id.
    pub fn id(&self) -> ObjectId {
        self.id
    }
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Its number of blocks.
    pub fn blocks(&self) -> u32 {
        block_count(self.size)
    }

    /// Reads from `offset` into `buf` what is cached there.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Read {
        let mut done = 0usize;
        let mut state = self.cache.lock();
        let file = std::fs::File::open(self.cache.path(self.id));
        while done < buf.len() && offset + (done as u64) < self.size {
            let at = offset + done as u64;
            let block = u32::try_from(at / BLOCK).unwrap_or(u32::MAX);
            let there = state.objects.get(&self.id).is_some_and(|e| e.blocks.contains(&block));
            let n = (block_len(self.size, block) - at % BLOCK).min((buf.len() - done) as u64) as usize;
            let read = match &file {
                Ok(file) if there => file.read_exact_at(&mut buf[done..done + n], at).is_ok(),
                _ => false,
            };
            if !read {
                if done == 0 {
                    state.stats.misses += 1;
                    return Read::Miss { block };
                }
                break;
            }
            done += n;
        }
        Read::Hit(done)
    }

    /// Whether a block is cached.
    pub fn has(&self, block: u32) -> bool {
        self.cache.lock().objects.get(&self.id).is_some_and(|e| e.blocks.contains(&block))
    }

    /// The runs of blocks within `blocks` that are not cached.
    pub fn missing(&self, blocks: Range<u32>) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for block in blocks.start..blocks.end.min(self.blocks()) {
            if self.has(block) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => runs.push(block..block + 1),
            }
        }
        runs
    }

    /// Bytes of it that are cached.
    pub fn present_bytes(&self) -> u64 {
        self.cache.lock().objects.get(&self.id).map_or(0, |e| e.blocks.iter().map(|b| block_len(self.size, *b)).sum())
    }

    /// Whether every block is cached.
    pub fn is_complete(&self) -> bool {
        self.present_bytes() == self.size
    }

    /// Offers a block to the cache.
    pub fn insert(&self, block: u32, data: &[u8], landing: Landing) -> Inserted {
        let len = block_len(self.size, block);
        if len == 0 || data.len() as u64 != len {
            return Inserted::Refused(Reason::WrongLength);
        }
        let mut state = self.cache.lock();
        if state.objects.get(&self.id).is_some_and(|e| e.blocks.contains(&block)) {
            return Inserted::Stored { tier: self.cache.tier.clone() };
        }
        if state.used + len > self.cache.config.tiers[0].capacity {
            return Inserted::Refused(Reason::Full);
        }
        let file = std::fs::OpenOptions::new().create(true).write(true).truncate(false).open(self.cache.path(self.id));
        if file.and_then(|f| f.write_all_at(data, u64::from(block) * BLOCK)).is_err() {
            return Inserted::Refused(Reason::Faulted);
        }
        state.used += len;
        let entry = state.objects.entry(self.id).or_default();
        entry.dataset = self.dataset.0;
        entry.pinned |= landing.pin;
        entry.blocks.insert(block);
        Inserted::Stored { tier: self.cache.tier.clone() }
    }

    /// Promises that nothing of it is evicted, now or when it lands.
    pub fn pin(&self) -> Result<(), PinError> {
        self.cache.lock().objects.entry(self.id).or_default().pinned = true;
        Ok(())
    }

    /// Takes the promise back.
    pub fn unpin(&self) {
        self.cache.lock().objects.entry(self.id).or_default().pinned = false;
    }

    /// Drops what is cached of it, pinned or not; the bytes freed.
    pub fn evict(&self) -> u64 {
        let freed = self.present_bytes();
        let mut state = self.cache.lock();
        state.objects.remove(&self.id);
        state.used = state.used.saturating_sub(freed);
        let _ = std::fs::remove_file(self.cache.path(self.id));
        freed
    }
}
