//! The file system that a Dataset shows: read-only, POSIX where programs rely on it, and free of any FUSE library.
//!
//! [`Tree`] is the seam: whoever owns a Dataset's generations implements it. An adapter (FUSE) translates requests and takes no decision of its own.

mod error;
mod node;
mod tree;

pub use error::FsError;
pub use node::{DirEntry, Node, NodeKind, ROOT_INO};
pub use tree::{Handle, Opened, PageCache, Totals, Tree};
