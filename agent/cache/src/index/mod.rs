//! The index: what each tier holds, on disk, so that a start needs no scan. A cache of the truth, which is in the tiers' files.
//!
//! Losing it, wholly or in part, costs a scan. [`SledIndex`] keeps it, [`MemoryIndex`] and [`FailingIndex`] are its twins.

mod entry;
mod memory;
mod sled;
#[cfg(test)]
mod tests;

pub(crate) use entry::Entry;
pub use memory::{FailingIndex, MemoryIndex};
pub use sled::SledIndex;

use crate::ObjectId;

/// Why the index could not do something; nobody acts on the cause, so it is text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub String);

/// Changes of one tier's entries: a new value, or none for an entry that goes.
pub type Batch = Vec<(ObjectId, Option<Vec<u8>>)>;

/// Stores opaque values by tier and object.
pub trait Index: Send + Sync {
    /// Shows every entry of a tier, in no order, until the callback says `false`.
    fn load(&self, tier: &str, each: &mut dyn FnMut(ObjectId, &[u8]) -> bool) -> Result<(), IndexError>;
    /// Makes changes; they may be lost until the next [`Index::flush`].
    fn apply(&self, tier: &str, batch: Batch) -> Result<(), IndexError>;
    /// Waits until all changes are on the disk.
    fn flush(&self) -> Result<(), IndexError>;
    /// Flushes and gives its files up, for another process to take; every call fails from then on.
    fn close(&self);
    /// The token set last: the tier and the index were closed together if the tier has the same.
    fn token(&self, tier: &str) -> Result<Option<u64>, IndexError>;
    /// Sets or removes the token.
    fn set_token(&self, tier: &str, token: Option<u64>) -> Result<(), IndexError>;
}
