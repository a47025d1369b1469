//! What can go wrong in mounting and unmounting, as opposed to serving.

use std::io;
use std::path::PathBuf;

/// Why a mount could not be made, cleaned up or taken down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mount point cannot be used as one.
    #[error("cannot prepare mount point {at}: {source}")]
    MountPoint {
        /// The mount point.
        at: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The mount point holds files, which the mount would hide.
    #[error("{at} is not empty: mounting there would hide its files; empty it or choose another directory")]
    NotEmpty {
        /// The mount point.
        at: PathBuf,
    },
    /// Something is mounted there already.
    #[error("{at} is already a mount point of {what}; unmount that first or choose another directory")]
    Occupied {
        /// The mount point.
        at: PathBuf,
        /// Type and source of what is mounted there.
        what: String,
    },
    /// No permission to mount, and no helper that has it.
    #[error("may not mount {at}: {reason}; run as root, give CAP_SYS_ADMIN and /dev/fuse, or install fuse3 for fusermount3")]
    NotPermitted {
        /// The mount point.
        at: PathBuf,
        /// What was tried and refused.
        reason: String,
    },
    /// The kernel refused for another reason.
    #[error("cannot mount {at}: {source}")]
    Mount {
        /// The mount point.
        at: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The kernel and this program could not agree on the protocol.
    #[error("FUSE handshake for {at} failed: {source}")]
    Handshake {
        /// The mount point.
        at: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The mount could not be taken down.
    #[error("cannot unmount {at}: {source}")]
    Unmount {
        /// The mount point.
        at: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something else was mounted over the mount, so that unmounting the place would hit that.
    #[error("{at} is covered by a mount of {what}; unmount that first")]
    Covered {
        /// The mount point.
        at: PathBuf,
        /// Type and source of what covers it.
        what: String,
    },
    /// The list of mounts could not be read.
    #[error("cannot read /proc/self/mountinfo: {source}")]
    MountInfo {
        /// What the operating system said.
        source: io::Error,
    },
}
