//! Runs over a cache that a test made of parts of its own: more tiers, a disk that fails, a clock that stands still.

use std::path::Path;
use std::sync::Arc;

use forebay_cache::{BLOCK, Cache, CacheConfig, Medium, TierConfig};
use forebay_store::UnderStore;

use super::Run;
use crate::Settings;

/// Tiers of these names below `dir`, fastest first, with room for `blocks` each.
pub(super) fn config(dir: &Path, tiers: &[&str], blocks: u64) -> CacheConfig {
    let tiers = tiers.iter().map(|&name| TierConfig {
        name: name.into(),
        medium: Medium::Disk,
        dir: dir.join(name),
        capacity: blocks * BLOCK,
        reserve: 0,
    });
    CacheConfig::new(tiers.collect(), dir.join("index"))
}

impl Run {
    /// Starts over that cache, and over what an earlier run left in `dir`. The stores are those of readers and of background work.
    pub(super) fn over(cache: Cache, dir: &Path, stores: [Arc<dyn UnderStore>; 2], settings: Settings) -> Self {
        Self::of(cache, dir, stores, settings, None, None)
    }
}
