//! What a caller chooses about one mount.

use std::path::PathBuf;

use forebay_fs::Owner;

/// The largest read that the kernel sends as one request, in bytes: as long as a block of the cache.
pub const MAX_READ: u32 = 1 << 20;

/// How to mount one Dataset.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// The Dataset's name as shown by `mount(8)`: `namespace/name`, or a name alone. Commas and control characters are shown
    /// as `_`.
    pub dataset: String,
    /// Where. Made if missing; must be an empty directory with nothing mounted on it.
    pub at: PathBuf,
    /// Who owns what is shown, with which permission bits.
    pub owner: Owner,
    /// Whether users other than the one who mounts may enter. Without root it needs `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Threads that answer the kernel; each copies cached data itself. At least 1.
    pub threads: usize,
    /// Reads and opens that may wait for a store at once; more wait for their turn. At least 1.
    pub waiting: usize,
    /// How far the kernel reads ahead of a sequential reader, in KiB; needs root, ignored without.
    pub read_ahead_kib: u32,
    /// Whether extended attributes are shown. Off, `ls -l` asks for them once; on, it asks once a file.
    pub xattrs: bool,
    /// Why complete files are not to be read by the kernel itself, in words for [`crate::OpenCounts::why_not`]. `None`: they are,
    /// where kernel and rights allow it.
    pub not_native: Option<&'static str>,
    /// Files that nobody has open and that are kept ready to be read natively; each takes about 2 KiB of the
    /// kernel's memory and half a KiB of this process's.
    pub kept_ids: usize,
    /// Whether a composed mount lies over a directory of this one that is not listed: overlayfs takes a change of the kernel's epoch for
    /// `ESTALE`, so names are invalidated one by one, as on kernels that have no epochs.
    pub beneath_overlay: bool,
    /// Leaves mounting to `fusermount3` even where `mount(2)` would be permitted.
    pub use_helper: bool,
}

impl MountOptions {
    /// The usual choices for Dataset `dataset` at `at`: open to all users when run by root, two threads a processor.
    #[must_use]
    pub fn new(dataset: impl Into<String>, at: impl Into<PathBuf>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            dataset: dataset.into(),
            at: at.into(),
            owner: Owner::default(),
            allow_other: rustix::process::geteuid().is_root(),
            threads: (2 * processors).min(16),
            waiting: 1024,
            read_ahead_kib: 4096,
            xattrs: false,
            not_native: None,
            kept_ids: 16_384,
            beneath_overlay: false,
            use_helper: false,
        }
    }
}
