//! The file system that a Dataset shows: read-only, POSIX where programs rely on it, and free of any FUSE library.
//!
//! [`Tree`] is the seam: whoever owns a Dataset's generations implements it. The in-memory twin ([`memory::MemoryTree`]) and
//! the failing twin ([`failing::FailingTree`]) stand beside it, so that everything above is tested without a store and without
//! a kernel. [`FileSystem`] answers each request from the tree; an adapter (FUSE) translates and takes no decision of its own.

mod attributes;
mod backing;
mod error;
pub mod failing;
mod file_system;
pub mod memory;
mod node;
mod tree;

pub use attributes::{Attributes, BLOCK_SIZE, Caller, NAME_MAX, Owner, Statfs, access};
pub use backing::{Backing, Kept};
pub use error::FsError;
pub use file_system::{Entry, FileSystem, Listed, MAX_VALIDITY, fit_xattr};
pub use node::{DirEntry, Node, NodeKind, ROOT_INO};
pub use tree::{Handle, Opened, PageCache, Totals, Tree};
