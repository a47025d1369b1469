//! The block cache of one node: tiers of RAM and disk, blocks, index, eviction, pins.
//!
//! Synchronous and thread-safe. It knows no network, no FUSE, no async runtime and no Kubernetes. Its promises: nothing
//! wrong is ever served, capacity and reserve are never exceeded, and a fault of the cache never fails a read - it
//! becomes a miss or a refused insert, and a line in [`Cache::health`].

mod cache;
mod clock;
mod config;
mod counters;
mod datasets;
mod fds;
mod id;
pub mod index;
mod inner;
mod insert;
pub mod io;
mod keeper;
mod meta;
mod mover;
mod object;
mod outcome;
mod pins;
mod policy;
mod report;
mod shared;
mod tier;

pub use cache::{Cache, Parts};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{CacheConfig, CacheError, DatasetPolicy, Medium, TierConfig};
pub use datasets::DatasetId;
pub use id::{BLOCK, ObjectId, block_count, block_len};
pub use io::erase;
pub use object::{Kept, Native, Object};
pub use outcome::{Inserted, Landing, PinError, PublishError, Read, Reason};
pub use report::{DatasetUsage, LayerChanges, RecoverReport, Stats, TierHealth, TierState, TierUsage, Usage};

#[cfg(test)]
mod tests;
