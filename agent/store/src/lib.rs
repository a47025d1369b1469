//! Under stores: the remote places that a Dataset's mounts name, behind one small trait.
//!
//! [`UnderStore`] is what the rest of the agent sees. Adapters ([`s3`], [`local`], [`http`]) translate one
//! protocol each and hold no policy; [`policy`] wraps any of them with retries, timeouts, a concurrency bound
//! and a bandwidth limit, so that every store behaves alike under trouble. [`memory`] and [`failing`] are the
//! in-memory and the failing twin that tests of everything above use.

mod error;
pub mod failing;
pub mod http;
pub mod local;
pub mod memory;
mod object;
mod open;
pub mod policy;
mod range;
pub mod s3;
mod tally;
mod under_store;

pub use error::{StoreError, StoreErrorKind, StoreResult};
pub use object::{Key, ObjectMeta, StoreId, Version};
pub use open::{Credentials, OpenStore, StoreConfig, open};
pub use tally::{Tallied, Tally};
pub use under_store::{
    ByteStream, Checksum, GetStream, ListPage, ListRequest, ObjectVersion, PageToken, UnderStore, Unrepresentable,
};
