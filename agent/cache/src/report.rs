use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Medium, Reason};

/// What is used, by tier and by Dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By tier, fastest first.
    pub tiers: Vec<TierUsage>,
    /// By Dataset, in order of name. Objects that belong to none known stand under the empty name.
    pub datasets: BTreeMap<String, DatasetUsage>,
}

/// What one tier holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierUsage {
    /// Its name.
    pub name: String,
    /// What it lies on.
    pub medium: Medium,
    /// Bytes that it may occupy.
    pub capacity: u64,
    /// Bytes charged against the capacity: 4 KiB units and the overhead of files included, writes in flight too,
    /// and after a start what is not accounted for yet.
    pub charged: u64,
    /// Bytes of objects in it.
    pub bytes: u64,
    /// Bytes of objects pinned in it.
    pub pinned: u64,
    /// Objects of which it holds at least one block or a pin.
    pub objects: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// Objects of it that are published, as far as is known: after a start they are found one by one.
    pub native: u64,
}

/// What one Dataset has cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetUsage {
    /// Bytes of objects by tier, fastest first.
    pub tiers: Vec<u64>,
    /// Bytes of objects over all tiers.
    pub bytes: u64,
    /// Bytes pinned.
    pub pinned: u64,
    /// Its quota.
    pub quota: Option<u64>,
}

/// How a tier does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierHealth {
    /// Its name.
    pub name: String,
    /// What it lies on.
    pub medium: Medium,
    /// Whether it takes blocks now.
    pub state: TierState,
    /// Errors of its disk since the start.
    pub errors: u64,
    /// The last of them, with the operation and what it was done to.
    pub last_error: Option<String>,
    /// Bytes free on its file system when last asked.
    pub free: u64,
    /// Bytes that must stay free there.
    pub reserve: u64,
}

impl TierHealth {
    /// Why the tier takes no blocks; `None`: it works.
    pub fn fault(&self) -> Option<&str> {
        let TierState::Faulted { .. } = self.state else { return None };
        Some(self.last_error.as_deref().unwrap_or("its disk fails"))
    }
}

/// Whether a tier takes blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierState {
    /// All is known and works.
    Ready,
    /// It works; what it holds is not wholly known yet after a start.
    Recovering,
    /// Its disk failed; the next attempt to write is made after `retry_in`.
    Faulted {
        /// Until then inserts are refused.
        retry_in: Duration,
    },
}

/// Counters since the start; they only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of `read_at` that found something, by tier of the first block, fastest first.
    pub hits: Vec<u64>,
    /// Calls of `read_at` that did not.
    pub misses: u64,
    /// Bytes given by `read_at`.
    pub hit_bytes: u64,
    /// Blocks stored by `insert`.
    pub inserted: u64,
    /// Bytes stored by `insert`.
    pub inserted_bytes: u64,
    /// Blocks evicted to make room, or expired.
    pub evictions: u64,
    /// Blocks moved to a faster tier.
    pub promotions: u64,
    /// Blocks moved to a slower tier instead of being lost.
    pub demotions: u64,
    /// Moves given up: the queue was full or the block gone.
    pub moves_dropped: u64,
    /// Inserts refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Blocks found damaged and dropped.
    pub verify_failures: u64,
    /// Blocks whose bytes were read whole and found right at the first read after a start.
    pub verified: u64,
    /// Failures of the index; each costs at most a scan after the next start.
    pub index_errors: u64,
}

/// How often published files changed since the start, other than by [`crate::Object::publish`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerChanges {
    /// Files came or went: who looks for them anew finds more, and lets go of what is there no more.
    pub all: u64,
    /// Of these: files went for want of room. The space of those that are evicted next is free when nobody remembers them.
    pub urgent: u64,
}

/// What [`crate::Cache::recover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverReport {
    /// Cached files seen.
    pub files: u64,
    /// Files that the index did not know.
    pub adopted: u64,
    /// Index entries without a file.
    pub lost: u64,
    /// Files that could not be used (no valid meta data, wrong size) and were removed.
    pub damaged: u64,
    /// Temporary and foreign files removed.
    pub garbage: u64,
    /// Bytes evicted because the tier was over its capacity or reserve.
    pub trimmed: u64,
    /// Tiers that could not be scanned because of their disk, with the reason.
    pub failed_tiers: Vec<String>,
    /// How long it took.
    pub took: Duration,
}
