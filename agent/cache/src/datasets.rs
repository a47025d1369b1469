use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::policy::{Room, SetRules, TICKS};
use crate::{DatasetPolicy, PinError};

/// Names a Dataset in this process. Two caches' ids have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatasetId(pub(crate) u16);

/// Owner of what belongs to no Dataset that can be told: everything when 65,535 Datasets were seen.
pub(crate) const NOBODY: u16 = 0;

/// What is written into files in place of a Dataset's name: eight bytes that do not change between processes.
pub(crate) fn tag(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes).max(1)
}

/// All Datasets seen by this process: declared, removed, and those whose tag was found on a disk.
pub(crate) struct Datasets(RwLock<Vec<Arc<Dataset>>>);

/// One of them. Replaced as a whole when its policy changes; the sums are shared by all versions.
#[derive(Clone)]
pub(crate) struct Dataset {
    pub(crate) tag: u64,
    /// `None` when only its tag is known.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) policy: DatasetPolicy,
    /// Removed, or not declared yet.
    pub(crate) retired: bool,
    sums: Arc<Sums>,
}

#[derive(Default)]
struct Sums {
    bytes: AtomicU64,
    pinned: AtomicU64,
}

impl Dataset {
    fn unknown(tag: u64) -> Self {
        Self { tag, name: None, policy: DatasetPolicy::default(), retired: true, sums: Arc::default() }
    }

    /// What the order of eviction must know about it.
    pub(crate) fn rules(&self) -> SetRules {
        let ticks = |ttl: Duration| u32::try_from(ttl.as_millis() * u128::from(TICKS) / 1000).unwrap_or(u32::MAX);
        SetRules { retired: self.retired, ttl: self.policy.ttl.map(ticks) }
    }

    /// Whether its small objects are published without being pinned.
    pub(crate) fn publishes(&self) -> bool {
        self.policy.native && self.policy.ttl.is_none() && !self.retired
    }

    /// What of its small objects may be published without being pinned. Of what expires nothing is read unseen.
    pub(crate) fn room(&self) -> Room {
        match self.policy.quota {
            _ if self.policy.ttl.is_some() => Room::Short,
            _ if !self.publishes() => Room::Tight,
            Some(quota) => Room::of(self.bytes(), quota),
            None => Room::Plenty,
        }
    }

    /// Bytes of objects cached, over all tiers; a block that is being moved is counted once.
    pub(crate) fn bytes(&self) -> u64 {
        self.sums.bytes.load(Ordering::SeqCst)
    }

    /// Bytes of objects pinned.
    pub(crate) fn pinned(&self) -> u64 {
        self.sums.pinned.load(Ordering::SeqCst)
    }

    /// Takes `len` bytes of the quota, if they are there.
    pub(crate) fn reserve(&self, len: u64) -> bool {
        let quota = self.policy.quota.unwrap_or(u64::MAX);
        let take = |bytes: u64| bytes.checked_add(len).filter(|sum| *sum <= quota);
        self.sums.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    /// Counts bytes that are there whatever the quota says.
    pub(crate) fn add(&self, len: u64) {
        self.sums.bytes.fetch_add(len, Ordering::SeqCst);
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, len: u64) {
        let less = |bytes: u64| Some(bytes.saturating_sub(len));
        let _ = self.sums.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Whether it may pin `len` bytes more.
    pub(crate) fn may_pin(&self, len: u64) -> Result<(), PinError> {
        if self.retired {
            return Err(PinError::Retired);
        }
        match self.policy.quota {
            Some(quota) if self.pinned().saturating_add(len) > quota => {
                Err(PinError::Quota { needed: len, pinned: self.pinned(), quota })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn pin(&self, len: u64) {
        self.sums.pinned.fetch_add(len, Ordering::SeqCst);
    }

    pub(crate) fn unpin(&self, len: u64) {
        let less = |bytes: u64| Some(bytes.saturating_sub(len));
        let _ = self.sums.pinned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

impl Datasets {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(vec![Arc::new(Dataset::unknown(0))]))
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Dataset>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Dataset>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, set: u16) -> Arc<Dataset> {
        let all = self.read();
        all.get(usize::from(set)).unwrap_or(&all[0]).clone()
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> Vec<Arc<Dataset>> {
        self.read().clone()
    }

    /// Number of a declared Dataset.
    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        let tag = tag(name);
        self.read().iter().position(|d| d.tag == tag && !d.retired).and_then(|at| u16::try_from(at).ok())
    }

    /// Number of the Dataset with a tag, which is unknown unless it was declared.
    pub(crate) fn of_tag(&self, tag: u64) -> u16 {
        if let Some(at) = self.read().iter().position(|d| d.tag == tag) {
            return u16::try_from(at).unwrap_or(NOBODY);
        }
        self.change(tag, |_| {})
    }

    pub(crate) fn declare(&self, name: &str, policy: DatasetPolicy) -> u16 {
        self.change(tag(name), |dataset| {
            dataset.name = Some(name.into());
            dataset.policy = policy;
            dataset.retired = false;
        })
    }

    /// Changes [`DatasetPolicy::native`] alone.
    pub(crate) fn set_native(&self, set: u16, on: bool) {
        if set != NOBODY {
            let tag = self.get(set).tag;
            self.change(tag, |dataset| dataset.policy.native = on);
        }
    }

    pub(crate) fn retire(&self, set: u16) {
        if set != NOBODY {
            let tag = self.get(set).tag;
            self.change(tag, |dataset| dataset.retired = true);
        }
    }

    fn change(&self, tag: u64, change: impl FnOnce(&mut Dataset)) -> u16 {
        let mut all = self.write();
        let at = all.iter().position(|d| d.tag == tag).unwrap_or_else(|| {
            if all.len() > usize::from(u16::MAX) {
                return usize::from(NOBODY);
            }
            all.push(Arc::new(Dataset::unknown(tag)));
            all.len() - 1
        });
        let mut dataset = Dataset::clone(&all[at]);
        if at != usize::from(NOBODY) {
            change(&mut dataset);
        }
        all[at] = Arc::new(dataset);
        at as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_found_first_and_declared_later_is_one_dataset() {
        let datasets = Datasets::new();
        let found = datasets.of_tag(tag("a"));
        assert!(datasets.get(found).retired && datasets.find("a").is_none());
        datasets.get(found).add(5);
        let declared = datasets.declare("a", DatasetPolicy { quota: Some(7), ..DatasetPolicy::default() });
        assert_eq!((found, datasets.find("a"), datasets.get(found).bytes()), (declared, Some(declared), 5));
        datasets.retire(declared);
        assert!(datasets.find("a").is_none());
        assert_eq!(datasets.declare("a", DatasetPolicy::default()), declared);
    }

    #[test]
    fn a_quota_is_never_exceeded_and_what_is_given_back_can_be_taken_again() {
        let datasets = Datasets::new();
        let set = datasets.declare("a", DatasetPolicy { quota: Some(10), ..DatasetPolicy::default() });
        let dataset = datasets.get(set);
        assert!(dataset.reserve(10) && !dataset.reserve(1));
        dataset.release(4);
        assert!(!dataset.reserve(5) && dataset.reserve(4));
        dataset.add(100);
        assert_eq!(dataset.bytes(), 110);
        dataset.release(u64::MAX);
        assert_eq!(dataset.bytes(), 0);
    }
}
