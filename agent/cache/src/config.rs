use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{BLOCK, Clock, SystemClock};

/// What a tier's directory lies on. One code serves both; the medium is for reports and for choosing a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Medium {
    /// A tmpfs: gone after a reboot, not after a restart of the agent.
    Memory,
    /// A directory of a local disk.
    Disk,
}

/// One tier: a directory, and how much of it may be used.
#[derive(Clone, Debug)]
pub struct TierConfig {
    /// Its name, as the CacheRuntime has it; the index keeps a tier's entries by it.
    pub name: String,
    /// What it lies on.
    pub medium: Medium,
    /// The directory; made when absent. The cache owns everything in it.
    pub dir: PathBuf,
    /// Bytes that the cache may occupy on the file system, its own overhead included; at least 8 blocks.
    pub capacity: u64,
    /// Bytes that the file system must keep free whatever the capacity says, for everybody else on it.
    pub reserve: u64,
}

/// Everything that [`crate::Cache::open`] needs.
#[derive(Clone)]
pub struct CacheConfig {
    /// The tiers, fastest first; at least one, at most 16.
    pub tiers: Vec<TierConfig>,
    /// Directory of the index; made when absent, emptied when what is in it cannot be used.
    pub index_dir: PathBuf,
    /// Descriptors of cached files kept open at most, over all tiers.
    pub max_open_files: usize,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl CacheConfig {
    /// The usual configuration: 1024 open files, the machine's clock.
    pub fn new(tiers: Vec<TierConfig>, index_dir: impl Into<PathBuf>) -> Self {
        Self { tiers, index_dir: index_dir.into(), max_open_files: 1024, clock: Arc::new(SystemClock) }
    }

    pub(crate) fn validate(&self) -> Result<(), CacheError> {
        let bad = |what: String| Err(CacheError::Config(what));
        if self.tiers.is_empty() || self.tiers.len() > 16 {
            return bad(format!("{} tiers; give 1 to 16", self.tiers.len()));
        }
        for (i, tier) in self.tiers.iter().enumerate() {
            if tier.name.is_empty() {
                return bad(format!("tier {i} has no name"));
            }
            if tier.capacity < 8 * BLOCK {
                return bad(format!(
                    "tier {:?} has a capacity of {} bytes; give at least {}",
                    tier.name,
                    tier.capacity,
                    8 * BLOCK
                ));
            }
            for other in &self.tiers[..i] {
                if other.name == tier.name {
                    return bad(format!("two tiers are named {:?}", tier.name));
                }
                if other.dir.starts_with(&tier.dir) || tier.dir.starts_with(&other.dir) {
                    return bad(format!("tiers {:?} and {:?} share the directory {}", other.name, tier.name, tier.dir.display()));
                }
            }
        }
        Ok(())
    }
}

/// What a Dataset may take of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetPolicy {
    /// Bytes of objects that it may have cached, over all tiers, each block counted once.
    pub quota: Option<u64>,
    /// Blocks not read for so long are given up: first by eviction, and freed within about a minute.
    pub ttl: Option<Duration>,
    /// Name of the tier that its blocks land in; by default the fastest with free room, else the last.
    pub landing_tier: Option<String>,
    /// Whether its complete objects of one block are published without being pinned, as long as there is room to spare. Not with a
    /// `ttl`: what is read of them is not seen. See [`crate::Cache::layer_changes`].
    pub native: bool,
}

/// Why a cache could not be opened or recovered.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The configuration cannot work.
    #[error("cache configuration: {0}")]
    Config(String),
    /// Another process has the tier's directory.
    #[error("tier {tier}: the directory {} is in use by another process; end it or give this agent its own directory", dir.display())]
    InUse {
        /// Name of the tier.
        tier: String,
        /// Its directory.
        dir: PathBuf,
    },
    /// The recovery was told to stop.
    #[error("the recovery of the cache was stopped before its end; run it again")]
    Stopped,
}
