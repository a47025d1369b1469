//! From "these bytes of this object version" to the bytes, with the cache in between.
//!
//! [`Fetcher::open`] gives a [`File`], read at any offset by any number of readers. What the cache has is read
//! from it; what it lacks is fetched once however many wait ([`flight`]), in parallel ranged GETs ([`part`]),
//! and handed to readers as it streams in. Sequential readers get an adaptive window ahead ([`readahead`]).
//! [`Fetcher::fill`] brings whole objects in for prefetch and pin, on store connections and memory of its own
//! ([`budget`]), so that it never delays a reader.
//!
//! A cache that cannot store a block (full, faulty) costs speed and never a read.

mod budget;
mod buffer;
mod error;
mod fetcher;
mod file;
mod fill;
mod flight;
mod landing;
mod part;
mod readahead;
mod remote;
mod stats;
mod stream;

pub use error::{FetchError, FetchErrorKind};
pub use fetcher::{FetchConfig, Fetcher};
pub use file::File;
pub use fill::Filled;
pub use readahead::{Plan, Streams};
pub use remote::{Class, Remote};
pub use stats::{Stats, StatsSnapshot};

#[cfg(test)]
mod tests;
