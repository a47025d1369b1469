//! The block cache of one node: tiers of RAM and disk, blocks, index, eviction, pins.
//!
//! Synchronous and thread-safe. It knows no network, no FUSE, no async runtime and no Kubernetes. Its promises: nothing
//! wrong is ever served, capacity and reserve are never exceeded, and a fault of the cache never fails a read - it
//! becomes a miss or a refused insert, and a line in [`Cache::health`].

mod cache;
mod clock;
mod config;
mod id;
mod outcome;
mod report;

pub use cache::{Cache, DatasetId, Object};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{CacheConfig, CacheError, DatasetPolicy, Medium, TierConfig};
pub use id::{BLOCK, ObjectId, block_count, block_len};
pub use outcome::{Inserted, Landing, PinError, Read, Reason};
pub use report::{DatasetUsage, RecoverReport, Stats, TierHealth, TierState, TierUsage, Usage};
