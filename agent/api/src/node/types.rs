//! What is said between csi and agents, as exact types.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::DatasetName;

/// One mount of one node, from the `mount(2)` that made it to its end. Chosen by csi, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(pub u64);

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What the first server of a mount agreed on with the kernel, which says it once: the next server needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// Minor version of the kernel's FUSE protocol 7.
    pub minor: u32,
    /// The capabilities that both have.
    pub flags: u64,
    /// Read-ahead in bytes.
    pub max_readahead: u32,
}

/// Asks to serve a mount.
#[derive(Debug)]
pub struct MountRequest {
    /// Which mount.
    pub mount: MountId,
    /// What is to be shown there.
    pub dataset: DatasetName,
    /// The `/dev/fuse` behind it.
    pub device: OwnedFd,
    /// `None` for a mount that nobody has served yet.
    pub negotiated: Option<Negotiated>,
}

/// A mount that an agent serves, with the descriptor by which csi can let another one serve it.
#[derive(Debug)]
pub struct Holding {
    /// Which mount.
    pub mount: MountId,
    /// What it shows.
    pub dataset: DatasetName,
    /// What its first server agreed on.
    pub negotiated: Negotiated,
    /// A duplicate of the `/dev/fuse` behind it.
    pub device: OwnedFd,
}

/// What an agent asks of csi about a tier of medium `Memory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryRequest {
    /// A tmpfs of that size is wanted at [`memory_dir`](super::memory_dir); one that is there is resized.
    Prepare {
        /// The tier.
        tier: String,
        /// Its size.
        bytes: u64,
    },
    /// The tier is gone, with all that is in it.
    Drop {
        /// The tier.
        tier: String,
    },
}

/// What an agent asks of csi about files that the kernel reads by itself on a mount that the agent serves.
#[derive(Debug)]
pub enum BackingRequest {
    /// A backing id for `file` is wanted.
    Register {
        /// Which mount.
        mount: MountId,
        /// Open for reading.
        file: OwnedFd,
    },
    /// An id is not needed any more.
    Close {
        /// Which mount.
        mount: MountId,
        /// The id.
        id: u32,
    },
}

/// What a generation is composed of.
#[derive(Debug)]
pub struct Layers {
    /// Its number.
    pub generation: u64,
    /// The mount namespace that `directories` are of.
    pub namespace: OwnedFd,
    /// The EROFS image of its metadata, open for reading.
    pub image: OwnedFd,
    /// Directories in which complete objects are files `xx/<62 hex>`, fastest first; 14 at most.
    pub directories: Vec<OwnedFd>,
}

/// What of a mount's Dataset is shown by composed mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composed {
    /// The generations shown, oldest first.
    pub generations: Vec<u64>,
    /// Why what was asked for last could not be composed.
    pub why_not: Option<String>,
}

/// Whether `name` is a name of a Kubernetes object that may stand as one segment of a path: 1 to 253 lower-case letters, digits,
/// `-` and `.`, beginning and ending with a letter or digit.
#[must_use]
pub fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    name.len() <= 253
        && first.is_some_and(plain)
        && last.is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
}
