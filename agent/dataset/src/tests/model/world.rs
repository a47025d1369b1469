//! What happens to it all.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_cache::index::SledIndex;
use forebay_cache::io::{DiskIo, FailingIo, Faults};
use forebay_cache::{Cache, DatasetPolicy, ManualClock, Object, Parts};
use forebay_crds::dataset::CacheStatus;
use forebay_fs::{FsError, Tree};
use forebay_store::failing::{Fault, Seeded};
use forebay_store::policy::{Limits, Priority, Resilient};
use forebay_store::{StoreErrorKind, UnderStore};

use super::disk::{flip_a_bit, used};
use super::ladder::Held;
use super::reference::{KEYS, Reference, expected, seen};
use super::step::{Step, Way};
use super::{Disk, TIER_BLOCKS, World};
use crate::tests::{Run, Store, parts, settings, soon};
use crate::{Prefetch, Settings};

/// How long a store that stalls is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// Longer than the cache waits after any fault of its disk.
const PAUSE: Duration = Duration::from_secs(100);
/// The one tier.
const TIER: &str = "ssd";

impl World {
    pub(super) async fn new() -> Self {
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            store: Store::new(),
            store_well: true,
            faults: Faults::default(),
            disk: Disk::Well,
            clock: Arc::new(ManualClock::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())),
            settings: settings(),
            run: None,
            restarted: false,
            reference: Reference::default(),
            held: Vec::new(),
            lent: Vec::new(),
            mounts: Vec::new(),
            published: Vec::new(),
        };
        world.start().await;
        for (key, size) in KEYS.into_iter().zip([0, 100, 70_000, 3 << 20, (1 << 20) + 1, 4 << 20]) {
            world.reference.put(&world.store.memory, key, size);
        }
        world.refresh().await;
        world
    }

    pub(super) fn run(&self) -> &Run {
        self.run.as_ref().unwrap()
    }

    async fn start(&mut self) {
        let mut config = parts::config(self.dir.path(), &[TIER], TIER_BLOCKS);
        config.clock = self.clock.clone();
        let disk = FailingIo::new(Arc::new(DiskIo::new(&config.tiers[0].dir)), self.faults.clone());
        let index = Arc::new(SledIndex::new(&config.index_dir));
        let cache = Cache::open_with(&config, Parts { ios: vec![Arc::new(disk)], index, threads: true }).unwrap();
        let limits = Limits { request_timeout: PATIENCE, progress_timeout: PATIENCE, retries: 0, ..Limits::default() };
        let reader = Resilient::new(self.store.failing.clone(), limits);
        let background = reader.with_priority(Priority::Prefetch);
        let stores: [Arc<dyn UnderStore>; 2] = [Arc::new(reader), Arc::new(background)];
        self.run = Some(Run::over(cache, self.dir.path(), stores, self.settings.clone()));
        self.run().listed_after(0).await;
    }

    async fn restart(&mut self, cleanly: bool, damage: Option<u64>) {
        for lent in &mut self.lent {
            lent.outlive();
        }
        self.run.take().unwrap().end(cleanly && self.disk != Disk::Dying).await;
        // How a cache opens on a disk that fails is its own model's.
        self.mend_disk();
        if let Some(seed) = damage {
            // What a disk does to a file it does to who has it open.
            self.lent.clear();
            flip_a_bit(&self.dir.path().join(TIER), seed);
        }
        self.restarted = true;
        self.start().await;
        assert_eq!(seen(&self.run().dataset), expected(&self.reference.tree), "the last listing is taken up");
        if !self.mounts.is_empty() {
            self.run().dataset.publish(|| true);
        }
    }

    fn mend_disk(&mut self) {
        self.faults.mend();
        self.clock.advance(PAUSE);
        self.disk = Disk::Well;
    }

    async fn mend(&mut self) {
        if self.disk == Disk::Dying {
            self.restart(false, None).await;
        } else {
            self.mend_disk();
        }
    }

    /// What began while the store was unwell ends first: a read would join it and fail with it.
    async fn heal(&mut self) {
        self.store.failing.heal();
        soon(async {
            while self.store.failing.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        // From the end of a request to the end of who shares it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.store_well = true;
    }

    /// Lists anew. Where that fails the store is healed, and until then nothing has changed.
    async fn refresh(&mut self) {
        let dataset = self.run().dataset.clone();
        let generation = || dataset.inner.generations.current().map(|current| current.number);
        let before = generation();
        let wish = dataset.refresh(None);
        soon(async {
            while dataset.refreshed() < wish && dataset.inner.state().listing_failure.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        if dataset.refreshed() < wish {
            let shown = seen(&dataset);
            // It is tried again by itself, too.
            if generation() == before {
                assert_eq!(shown, expected(&self.reference.tree), "a listing that failed has changed something");
            }
            self.heal().await;
            let wish = dataset.refresh(None);
            soon(async {
                while dataset.refreshed() < wish {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
        self.reference.tree = self.reference.store.clone();
        assert_eq!(seen(&dataset), expected(&self.reference.tree));
        // Said a moment after it is so, when what the former one brought in has stopped.
        let number = u64::from(generation().unwrap());
        self.run().listed_after(number - 1).await;
    }

    /// Opens a file, which is there if the tree has it, and else not.
    pub(super) async fn open(&self, key: &'static str) -> Option<Held> {
        match (self.run().open(key).await, self.reference.tree.get(key)) {
            (Ok(handle), Some(version)) => Some(Held { handle, key, version: version.clone() }),
            (Err(FsError::NotFound), None) => None,
            (opened, expected) => panic!("{key}: {opened:?}, expected to be there: {}", expected.is_some()),
        }
    }

    /// What the cache has of a file of the newest generation.
    pub(super) fn object(&self, key: &str) -> Option<Object> {
        let inner = &self.run().dataset.inner;
        let generation = inner.generations.current()?;
        let entry = generation.catalog.by_path(key)?;
        let remote = inner.remote(&entry, None)?;
        Some(remote.object)
    }

    pub(super) async fn act(&mut self, step: Step) {
        match step {
            Step::Read { file, at, len, way: Way::Composed { mount } } => self.read_composed(mount, KEYS[file], at, len).await,
            Step::Read { file, at, len, way } => {
                if let Some(held) = self.open(KEYS[file]).await {
                    self.check(&held, at, len, matches!(way, Way::Native)).await;
                    self.run().dataset.release(held.handle);
                }
            }
            Step::Hold { file } => {
                let held = self.open(KEYS[file]).await;
                self.held.extend(held);
            }
            Step::ReadHeld { which, at, len, native } => {
                if let Some(held) = self.held.get(which).cloned() {
                    self.check(&held, at, len, native).await;
                }
            }
            Step::Release { which } => {
                if which < self.held.len() {
                    let held = self.held.swap_remove(which);
                    self.run().dataset.release(held.handle);
                }
            }
            Step::Lend { file, then } => self.lend(KEYS[file], then).await,
            Step::Change { file, size } => {
                let same = self.reference.store.get(KEYS[file]).map_or(10, |now| now.bytes.len());
                self.reference.put(&self.store.memory, KEYS[file], size.unwrap_or(same));
            }
            Step::Remove { file } => {
                self.store.memory.remove(KEYS[file]);
                self.reference.store.remove(KEYS[file]);
            }
            Step::Refresh => self.refresh().await,
            Step::Compose => self.compose(),
            Step::Unmount { which } => self.unmount(which),
            Step::Evict { file } => {
                if let Some(object) = self.object(KEYS[file]) {
                    object.evict();
                }
            }
            Step::Wish { paths } => {
                let paths: &[&str] = match paths {
                    0 => &["/d0"],
                    1 => &["/d1/e", "/f0"],
                    _ => &[],
                };
                self.run().dataset.evict(paths);
            }
            Step::Pin { file } => {
                if let Some(object) = self.object(KEYS[file])
                    && object.pin().is_ok()
                {
                    self.run().dataset.inner.publish(&object);
                }
            }
            Step::Unpin { file } => {
                if let Some(object) = self.object(KEYS[file]) {
                    object.unpin();
                }
            }
            Step::Quota { quota } => self.set_quota(quota).await,
            Step::Faults { per_mille, seed } => {
                self.store.failing.set_seeded(Some(Seeded { seed, per_mille, faults: faults() }));
                self.store_well = false;
            }
            Step::Heal => self.heal().await,
            Step::Break { op, errno } => {
                self.faults.fail(op, errno);
                if self.disk == Disk::Well {
                    self.disk = Disk::Failing;
                }
            }
            Step::Die { after } => {
                self.faults.die_after(after);
                self.disk = Disk::Dying;
            }
            Step::Mend => self.mend().await,
            Step::Restart { cleanly, damage, quota, eager, pins } => {
                let paths = if eager { vec!["/".to_owned()] } else { Vec::new() };
                let pins = if pins { vec!["/d0".to_owned()] } else { Vec::new() };
                self.settings = Settings { quota, prefetch: Prefetch { paths, ..settings().prefetch }, pins, ..settings() };
                self.restart(cleanly, damage).await;
            }
        }
        self.check_always();
    }

    /// Sets the quota of the Dataset that runs.
    async fn set_quota(&mut self, quota: Option<u64>) {
        self.settings.quota = quota;
        let policy = DatasetPolicy { quota, ..DatasetPolicy::default() };
        self.run().cache.set_dataset(&self.settings.name, policy);
        // What somebody has open stays however low it is, and a disk that fails gives nothing back.
        if let (Some(quota), true, Disk::Well) = (quota, self.lent.is_empty(), self.disk) {
            // What was on its way may land once more before it is noticed, and the disk's last fault may be noted after it was mended.
            let is_kept = |cache: &CacheStatus| cache.bytes <= quota.max(cache.pinned_bytes);
            self.run()
                .until(|status| {
                    self.clock.advance(Duration::from_secs(1));
                    is_kept(&status.cache)
                })
                .await;
        }
    }

    /// What holds whatever happened.
    fn check_always(&self) {
        self.clock.advance(Duration::from_secs(1));
        for lent in &self.lent {
            lent.check();
        }
        let tier = self.dir.path().join(TIER);
        // A walk that is held up sees a file that goes and the one that comes for it.
        let mut least = used(&tier);
        for _ in 0..20 {
            if least > TIER_BLOCKS << 20 {
                least = least.min(used(&tier));
            }
        }
        assert!(least <= TIER_BLOCKS << 20, "{least} bytes on the disk of a tier of {TIER_BLOCKS} MiB");
    }

    /// Whatever is wrong ends, and all is as the store has it.
    pub(super) async fn end(mut self) {
        self.mend().await;
        self.heal().await;
        self.refresh().await;
        for file in 0..KEYS.len() {
            self.act(Step::Read { file, at: 0, len: 5 << 20, way: Way::Served }).await;
        }
        self.run.take().unwrap().end(true).await;
    }
}

/// What goes wrong with a store.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::Timeout),
        Fault::Error(StoreErrorKind::Denied),
        Fault::Error(StoreErrorKind::NotFound),
        Fault::Error(StoreErrorKind::RangeNotSatisfiable),
        Fault::Truncate(1000),
        Fault::Break(1 << 20, StoreErrorKind::Unavailable),
        Fault::Stall(1000),
    ]
}
