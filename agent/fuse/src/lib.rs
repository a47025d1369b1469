//! Shows a Dataset's tree to the kernel as a FUSE mount.
//!
//! [`mount`] makes a mount and serves it until [`Mounted::unmount`] or drop; [`cleanup_dead`] removes what a killed server
//! left. All decisions about files are those of `forebay-fs`; this crate translates, and decides only who waits where:
//! cached data is copied on the threads that serve the kernel, everything else waits on the tokio runtime.
//!
//! [`serve_descriptor`] serves a mount that another process made and whose descriptor it keeps, so that the mount outlives its
//! server: node ids are inode numbers and handles are the tree's, so that the next server understands what the former gave out.

mod adapter;
mod buffer;
mod convert;
mod dead;
mod device;
mod error;
mod faults;
mod fusermount;
mod listings;
mod mounted;
mod mountinfo;
mod negotiated;
mod notify;
mod opening;
mod options;
mod passthrough;
mod served;
mod session;
mod waiting;

pub use dead::{cleanup_dead, cleanup_dead_below};
pub use error::MountError;
pub use mounted::{Mounted, Unmounted, mount};
pub use negotiated::Negotiated;
pub use notify::{Notifier, top_names};
pub use options::{MAX_READ, MountOptions};
pub use passthrough::{OpenCounts, Registrar, Shared};
pub use served::{Served, serve_descriptor};
