//! The catalog: one immutable *generation* of a dataset's tree, path -> (mount, key, size, version), in a file.
//!
//! A [`Builder`] takes the listings of a dataset's stores in any order, decides the fate of every object and writes
//! the file; a [`Catalog`] maps it and answers. Both take a bounded amount of memory whatever the number of files:
//! building sorts externally, opening reads a header. The same listing gives the same bytes on every machine, and
//! the file is complete in itself, so nodes can give it to each other.
//!
//! Names, overlapping mounts and the fates of keys are promised in `docs/semantics.md`; the file's format is in
//! `layout.rs`. Nothing here knows a network, an async runtime or a store: keys, version tokens and store ids are
//! text.
//!
//! ```
//! use forebay_catalog::{Builder, BuilderConfig, Listed, MountSpec};
//!
//! let dir = tempfile::tempdir()?;
//! let mounts = vec![MountSpec::new("/", "s3://bucket/train")];
//! let config = BuilderConfig { dataset: "imagenet".into(), generation: 1, listed_at_ns: 0, mounts, memory: 64 << 20 };
//! let mut builder = Builder::new(dir.path(), config)?;
//! builder.add(0, Listed { key: "a/b.jpg", size: 7, mtime_ns: 5, version: "m5" })?;
//! let catalog = builder.finish(&dir.path().join("1.catalog"))?;
//! let file = catalog.by_path("/a/b.jpg").ok_or("not there")?;
//! assert_eq!((file.size(), &*file.key(), &*file.version()), (7, "a/b.jpg", "m5"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod catalog;
mod entry;
mod error;
mod fate;
mod fifo;
mod incoming;
mod ino;
mod item;
mod layout;
mod mounts;
mod place;
mod sort;
mod sweep;
mod tally;
mod token;
mod walk;
mod write;

pub use builder::{Builder, BuilderConfig, Listed};
pub use catalog::{Catalog, Info};
pub use entry::{Entry, Kind};
pub use error::CatalogError;
pub use fate::{Fate, Report, Sample};
pub use incoming::{Adoption, Incoming};
pub use ino::inode_number;
pub use mounts::{MountSpec, MountTotals};
pub use sweep::sweep;
pub use walk::{Children, Walk};

/// Longest name in bytes: what Linux allows.
pub const MAX_NAME: usize = 255;
/// Longest path in the dataset in bytes, without its leading slash. A system call takes 4,095; this leaves 255 for
/// where the dataset is mounted.
pub const MAX_PATH: usize = 3840;
/// Longest key in bytes. Object stores allow 1,024.
pub const MAX_KEY: usize = 4096;
/// Longest version token in bytes.
pub const MAX_VERSION: usize = 4096;
/// Examples that a report keeps of each fate.
pub const MAX_SAMPLES: usize = 16;
/// [`Entry::mount`] of a directory that lies above every mount.
pub const NO_MOUNT: u16 = u16::MAX;

const TMP_PREFIX: &str = ".catalog-";
const TMP_SUFFIX: &str = ".tmp";
