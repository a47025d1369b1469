use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::index::{Index, SledIndex};
use crate::inner::Inner;
use crate::io::{DiskIo, TierIo};
use crate::keeper::Bell;
use crate::shared::lock;
use crate::tier::{Halt, Name};
use crate::{
    CacheConfig, CacheError, DatasetId, DatasetPolicy, DatasetUsage, LayerChanges, Object, ObjectId, RecoverReport, Stats,
    TierHealth, Usage,
};

/// The cache of one node; cheap to clone.
///
/// The last clone to go closes it, as [`Cache::close`] does at once. Handles to objects may outlive it: they find nothing then.
#[derive(Clone)]
pub struct Cache {
    handle: Arc<Handle>,
}

struct Handle {
    inner: Arc<Inner>,
    bell: Arc<Bell>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a cache is made of, for tests that replace parts.
pub struct Parts {
    /// One for each tier.
    pub ios: Vec<Arc<dyn TierIo>>,
    /// The index.
    pub index: Arc<dyn Index>,
    /// Whether the cache's own threads run. Without them the index is read by `open`, and all else they would do is done by [`Cache::step`].
    pub threads: bool,
}

impl Cache {
    /// Opens the cache. Does not scan the tiers, and reads the index on a thread of its own: what it does not know yet it looks up in
    /// the tiers. A tier whose directory cannot be used is left out, shows in [`Cache::health`], and is tried again.
    ///
    /// # Errors
    /// A configuration that cannot work, or a directory that another process has.
    pub fn open(config: CacheConfig) -> Result<Cache, CacheError> {
        config.validate()?;
        let ios = config.tiers.iter().map(|tier| Arc::new(DiskIo::new(&tier.dir)) as Arc<dyn TierIo>).collect();
        let index = Arc::new(SledIndex::new(&config.index_dir));
        Self::open_with(&config, Parts { ios, index, threads: true })
    }

    /// Opens a cache that is made of given parts.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_with(config: &CacheConfig, parts: Parts) -> Result<Cache, CacheError> {
        config.validate()?;
        let inner = Arc::new(Inner::new(config, parts.ios, parts.index));
        let mut starts = Vec::new();
        for (tier, config) in inner.tiers.iter().zip(&config.tiers) {
            match tier.activate() {
                Ok(start) => starts.push((tier.number, start)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    inner.let_go();
                    return Err(CacheError::InUse { tier: config.name.clone(), dir: config.dir.clone() });
                }
                Err(e) => tier.fault("use", &config.dir.display().to_string(), &e),
            }
        }
        let bell = Arc::new(Bell::default());
        let handle = Arc::new(Handle { inner: inner.clone(), bell: bell.clone(), threads: Mutex::default() });
        if !parts.threads {
            starts.into_iter().for_each(|(tier, start)| inner.tiers[tier].load(start));
            return Ok(Cache { handle });
        }
        let movers = inner.clone();
        let spawned = [
            spawn("cache-keeper", move || {
                starts.into_iter().for_each(|(tier, start)| inner.tiers[tier].load(start));
                while bell.wait() {
                    inner.keep(&bell);
                }
            }),
            spawn("cache-mover", move || {
                while movers.mover.wait() {
                    movers.move_waiting();
                }
            }),
        ];
        for thread in spawned {
            lock(&handle.threads).push(thread?);
        }
        Ok(Cache { handle })
    }

    /// Scans the tiers and makes index, accounts and files agree: adopts what the index does not know, drops what has no file, removes
    /// temporary and useless files, and evicts what is over the capacity. Reads and inserts go on meanwhile. It blocks for as long as
    /// the disks take (about 10 s for a million files); run it on a thread of its own after every start.
    ///
    /// # Errors
    /// [`CacheError::Stopped`] when `stop` was set or the cache closed. A tier whose disk fails is named in the report instead.
    pub fn recover(&self, stop: &AtomicBool) -> Result<RecoverReport, CacheError> {
        let inner = self.inner();
        let begun = std::time::Instant::now();
        let mut report = RecoverReport::default();
        for tier in &inner.tiers {
            while tier.is_loading() {
                if stop.load(Ordering::SeqCst) || inner.shared.is_closed() {
                    return Err(CacheError::Stopped);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            match tier.scan(stop, &mut report) {
                Ok(()) => {}
                Err(Halt::Stopped) => return Err(CacheError::Stopped),
                Err(Halt::Disk(e)) => {
                    report.failed_tiers.push(format!("{}: {e}", tier.name));
                    continue;
                }
            }
            if tier.state().index_behind
                && let Err(e) = tier.rebuild_index()
            {
                tier.index_failed(&e);
            }
        }
        report.trimmed = inner.trim() + inner.enforce_quotas();
        report.took = begun.elapsed();
        Ok(report)
    }

    /// Declares a Dataset, or changes its policy; a lower quota is enforced before this returns. After a start, what an undeclared
    /// Dataset has cached is served, and evicted first.
    pub fn set_dataset(&self, name: &str, policy: DatasetPolicy) -> DatasetId {
        let inner = self.inner();
        let datasets = &inner.shared.datasets;
        let before = datasets.find(name).is_some_and(|set| datasets.get(set).publishes());
        let set = datasets.declare(name, policy);
        for tier in &inner.tiers {
            tier.rule(&mut tier.state(), set);
        }
        self.look_for_natives(set, before);
        inner.enforce_quota(set);
        DatasetId(set)
    }

    /// Changes [`DatasetPolicy::native`] of a declared Dataset, and nothing else of its policy.
    pub fn set_native(&self, dataset: DatasetId, on: bool) {
        let datasets = &self.inner().shared.datasets;
        let before = datasets.get(dataset.0).publishes();
        datasets.set_native(dataset.0, on);
        self.look_for_natives(dataset.0, before);
    }

    /// What is cached already of a Dataset is to be published too, where it was not `before`.
    fn look_for_natives(&self, set: u16, before: bool) {
        if !before && self.inner().shared.datasets.get(set).publishes() {
            self.inner().tiers.iter().for_each(|tier| tier.state().natives.begin_walk());
        }
    }

    /// How often published files came and went, other than by [`Object::publish`]. Overlayfs remembers where it found a file, and keeps the
    /// space of one that is gone: who mounted the directories makes it forget when this has changed.
    pub fn layer_changes(&self) -> LayerChanges {
        self.inner().shared.counters.layer_changes()
    }

    /// Frees everything that a Dataset has cached, pinned or not, but for what another pins; the bytes freed. Its pins go wherever they
    /// are. Its id is refused from then on, until the name is declared again.
    pub fn remove_dataset(&self, name: &str) -> u64 {
        let Some(set) = self.inner().shared.datasets.find(name) else { return 0 };
        self.inner().shared.datasets.retire(set);
        self.remove_owned(|owner| owner == set)
    }

    /// Frees what a Dataset has cached and not pinned; the bytes freed. It goes on caching: what is read or fetched
    /// meanwhile may stay.
    pub fn evict_dataset(&self, name: &str) -> u64 {
        let inner = self.inner();
        let Some(set) = inner.shared.datasets.find(name) else { return 0 };
        let ids: HashSet<ObjectId> = inner.tiers.iter().flat_map(|tier| tier.owned(|owner| owner == set)).collect();
        let mut freed = 0;
        for id in ids {
            let stripe = inner.shared.stripe(&id);
            let unpinned = inner.tiers.iter().all(|tier| !tier.is_pinned_id(id, &stripe));
            for tier in inner.tiers.iter().filter(|tier| unpinned && tier.owner(&id) == Some(set)) {
                freed += tier.remove_object(id, &stripe);
            }
        }
        freed
    }

    /// Takes all pins of a Dataset off, and nobody else's. What is cached stays, as far as its owner's quota lets it.
    pub fn unpin_dataset(&self, name: &str) {
        let inner = self.inner();
        let Some(set) = inner.shared.datasets.find(name) else { return };
        for tier in &inner.tiers {
            for id in tier.pinned_by(|pinner| pinner == set) {
                let stripe = inner.shared.stripe(&id);
                tier.unpin_id(id, set, &stripe);
            }
        }
        inner.enforce_quotas();
    }

    /// Frees everything that belongs to Datasets which are not declared, but for what a declared one pins: what was removed while no agent
    /// ran. Call it when all Datasets have been declared; the bytes freed.
    pub fn remove_undeclared(&self) -> u64 {
        let shared = &self.inner().shared;
        self.remove_owned(|owner| shared.datasets.get(owner).retired)
    }

    fn remove_owned(&self, of: impl Fn(u16) -> bool) -> u64 {
        let inner = self.inner();
        for tier in &inner.tiers {
            for set in (0..=u16::MAX).take(inner.shared.datasets.all().len()).filter(|set| of(*set)) {
                tier.rule(&mut tier.state(), set);
            }
        }
        let mut freed = 0;
        for tier in &inner.tiers {
            let mut ids = tier.owned(&of);
            ids.extend(tier.pinned_by(&of));
            for id in ids {
                let stripe = inner.shared.stripe(&id);
                freed += tier.let_go_of(id, &of, &stripe);
            }
        }
        // What they pinned of others may be beyond those others' quotas.
        inner.enforce_quotas();
        freed
    }

    /// A handle to an object of `size` bytes, cached or not. Cheap: nothing is looked up.
    pub fn object(&self, dataset: DatasetId, id: ObjectId, size: u64) -> Object {
        Object::new(self.inner().clone(), dataset.0, Name { id, size })
    }

    /// The directories of published objects, fastest tier first: what [`Object::publish`] or [`DatasetPolicy::native`] made readable is there
    /// as `xx/<62 hex>`, and stays, unchanged, until it is evicted or room gets short, which is nothing to what is pinned. Only to be
    /// read. They are made by this call.
    pub fn published(&self) -> Vec<PathBuf> {
        self.inner().tiers.iter().filter_map(|tier| tier.published()).collect()
    }

    /// What is used.
    pub fn usage(&self) -> Usage {
        let inner = self.inner();
        let datasets = inner.shared.datasets.all();
        let mut usage = Usage::default();
        for (tier, sets) in inner.tiers.iter().map(|tier| tier.usage()) {
            for (set, bytes) in sets {
                let Some(dataset) = datasets.get(usize::from(set)).filter(|dataset| bytes > 0 || !dataset.retired) else {
                    continue;
                };
                let name = dataset.name.as_deref().unwrap_or_default();
                let entry = usage.datasets.entry(name.to_owned()).or_insert_with(DatasetUsage::default);
                entry.tiers.resize(inner.tiers.len(), 0);
                entry.tiers[usage.tiers.len()] += bytes;
            }
            usage.tiers.push(tier);
        }
        for dataset in datasets.iter().filter(|dataset| !dataset.retired || dataset.bytes() > 0) {
            let name = dataset.name.as_deref().unwrap_or_default();
            let entry = usage.datasets.entry(name.to_owned()).or_default();
            entry.tiers.resize(inner.tiers.len(), 0);
            entry.bytes += dataset.bytes();
            entry.pinned += dataset.pinned();
            entry.quota = dataset.policy.quota;
        }
        usage
    }

    /// How the tiers do, fastest first.
    pub fn health(&self) -> Vec<TierHealth> {
        self.inner().tiers.iter().map(|tier| tier.report()).collect()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.inner().shared.counters.stats()
    }

    /// Does at once what the cache's threads do in time: moves between tiers, expiry, the reserve, the index.
    pub fn step(&self) {
        let inner = self.inner();
        inner.move_waiting();
        inner.keep(&self.handle.bell);
        inner.expire();
    }

    /// Writes what the index lacks, and waits for it to be on the disk.
    pub fn flush(&self) {
        self.inner().flush_index();
    }

    /// Flushes and ends the cache for all its clones: reads find nothing, inserts are refused, the directories are free for another process.
    pub fn close(self) {
        self.handle.close(true);
    }

    /// Ends the cache as a kill would: nothing is flushed. For tests of restarts.
    #[doc(hidden)]
    pub fn abandon(self) {
        self.handle.close(false);
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.handle.inner
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, CacheError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|e| CacheError::Config(format!("no thread can be started: {e}; raise the process's limit of tasks")))
}

impl Handle {
    fn close(&self, flush: bool) {
        self.bell.stop();
        self.inner.mover.stop();
        // The index's reader looks at this.
        let closed = self.inner.shared.closed.swap(true, Ordering::SeqCst);
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
        if closed {
            return;
        }
        if flush {
            self.inner.finish();
        } else {
            self.inner.drain();
            self.inner.let_go();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(true);
    }
}

#[cfg(test)]
impl Cache {
    /// Looks at the disks while nothing changes on them: a walk takes time, and would count what goes and what comes.
    pub(crate) fn frozen<T>(&self, look: impl FnOnce() -> T) -> T {
        let _stripes = self.inner().shared.freeze();
        look()
    }

    /// Number of the tier that holds a block.
    pub(crate) fn tier_of(&self, object: &Object, block: u32) -> Option<usize> {
        let name = Name { id: object.id(), size: object.size() };
        self.inner().holder(name, block, None).map(|tier| tier.number)
    }
}
