use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::counters::Counters;
use crate::datasets::Datasets;
use crate::fds::Descriptors;
use crate::index::Index;
use crate::policy::{Sketch, TICKS};
use crate::{BLOCK, CacheConfig, Clock, ObjectId};

/// Locks that order all changes to one object's files, by its id: an insert, an eviction and a pin of the same object
/// follow each other. Always taken before a tier's state, never two at once.
const STRIPES: usize = 256;
/// How far back the policy's clock can see: last accesses before that count as this old.
const HISTORY: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// What all tiers of a cache have in common.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) datasets: Datasets,
    pub(crate) counters: Counters,
    pub(crate) files: Descriptors,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) closed: AtomicBool,
    /// Uses of blocks, wherever they are cached; taken after a tier's state.
    sketch: Mutex<Sketch>,
    stripes: Vec<Mutex<()>>,
    origin: Duration,
    nonce: u64,
    numbers: AtomicU64,
    temporaries: Mutex<HashSet<String>>,
}

/// Goes on after a panic in another thread: every change under a lock of this crate leaves its data usable at each step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file while it is being written.
pub(crate) struct Temporary<'a> {
    shared: &'a Shared,
    name: String,
}

impl Temporary<'_> {
    pub(crate) fn path(&self) -> String {
        format!("tmp/{}", self.name)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        lock(&self.shared.temporaries).remove(&self.name);
    }
}

impl Shared {
    pub(crate) fn new(config: &CacheConfig, index: Arc<dyn Index>) -> Self {
        let blocks = config.tiers.iter().map(|tier| tier.capacity / BLOCK).sum();
        let now = config.clock.now();
        // Random, from the standard library's source: unique among all that may ever have had these directories.
        let nonce = RandomState::new().hash_one(std::process::id());
        Self {
            clock: config.clock.clone(),
            datasets: Datasets::new(),
            counters: Counters::new(config.tiers.len()),
            files: Descriptors::new(config.max_open_files),
            index,
            closed: AtomicBool::new(false),
            sketch: Mutex::new(Sketch::new(blocks)),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            origin: now.saturating_sub(HISTORY),
            nonce,
            numbers: AtomicU64::new(0),
            temporaries: Mutex::default(),
        }
    }

    pub(crate) fn sketch(&self) -> MutexGuard<'_, Sketch> {
        lock(&self.sketch)
    }

    pub(crate) fn stripe(&self, id: &ObjectId) -> MutexGuard<'_, ()> {
        lock(&self.stripes[usize::from(id.0[31]) % STRIPES])
    }

    /// Has every stripe for a moment: whoever had one before has let it go then.
    pub(crate) fn visit_stripes(&self) {
        for stripe in &self.stripes {
            drop(lock(stripe));
        }
    }

    /// Has all stripes at once: nothing changes on any disk meanwhile.
    #[cfg(test)]
    pub(crate) fn freeze(&self) -> Vec<MutexGuard<'_, ()>> {
        self.stripes.iter().map(lock).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A name for a temporary file that no other process, earlier or later, uses.
    pub(crate) fn temporary(&self) -> Temporary<'_> {
        let name = format!("{:016x}-{:x}", self.nonce, self.numbers.fetch_add(1, Ordering::Relaxed));
        lock(&self.temporaries).insert(name.clone());
        Temporary { shared: self, name }
    }

    /// Whether a temporary file is being written now.
    pub(crate) fn is_temporary(&self, name: &str) -> bool {
        lock(&self.temporaries).contains(name)
    }

    /// A number that no other close of any cache has used.
    pub(crate) fn token(&self) -> u64 {
        crate::policy::mix(self.nonce ^ self.numbers.fetch_add(1, Ordering::Relaxed)).max(1)
    }

    /// Now, in the policy's ticks.
    pub(crate) fn tick(&self) -> u32 {
        self.to_tick(self.clock.now())
    }

    /// A time since the Unix epoch in the policy's ticks, never later than now.
    pub(crate) fn tick_of(&self, at: Duration) -> u32 {
        self.to_tick(at.min(self.clock.now()))
    }

    /// A tick in seconds since the Unix epoch.
    pub(crate) fn seconds(&self, tick: u32) -> u32 {
        u32::try_from(self.origin.as_secs() + u64::from(tick / TICKS)).unwrap_or(u32::MAX)
    }

    fn to_tick(&self, at: Duration) -> u32 {
        u32::try_from(at.saturating_sub(self.origin).as_millis() * u128::from(TICKS) / 1000).unwrap_or(u32::MAX)
    }
}
