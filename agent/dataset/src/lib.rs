//! A Dataset's life on one node: its tree is listed into generations, served, kept as fresh as its consistency
//! policy says, prefetched and pinned; and its state is told in the words of the Dataset's status.
//!
//! [`Dataset::run`] is the life itself: list, then prefetch and pin, then wait for a reason to list again.
//! [`Dataset`] implements [`forebay_fs::Tree`], which is how the mount reads it. Everything here that decides
//! ([`handle`], [`plan`], [`progress`], [`schedule`]) is pure; listing, fetching and files are at the ends.

mod ahead;
mod backing;
mod catalogs;
mod dataset;
mod evict;
mod failures;
mod generation;
mod generations;
mod handle;
mod judge;
mod life;
mod listing;
mod mount;
mod objects;
mod opens;
mod overrides;
mod pins;
mod plan;
mod prefetch;
mod progress;
mod schedule;
mod settings;
mod share;
mod status;
mod tree;
mod wishes;

pub use catalogs::{Catalog, Catalogs, Fresh, NoCatalog};
pub use dataset::{Dataset, DatasetParts};
pub use mount::{Mount, Stores};
pub use objects::{Beside, Composition, Objects};
pub use settings::{Consistency, Prefetch, Settings};
pub use share::Share;

#[cfg(test)]
mod tests;
