//! Which of the kernel's mounts are ours.

use forebay_mountinfo::{MountEntry, Mounts};

use crate::MountError;

/// The file system type of every Forebay mount.
pub(crate) const FS_TYPE: &str = "fuse.forebay";

/// What the source of every Forebay mount begins with; the Dataset's name follows.
pub(crate) const SOURCE_PREFIX: &str = "forebay:";

/// All mounts that this process sees.
pub(crate) fn read() -> Result<Mounts, MountError> {
    Mounts::read().map_err(|source| MountError::MountInfo { source })
}

/// Whether this program makes mounts that look so. Both parts must fit: the type alone may be claimed by others.
pub(crate) fn is_ours(mount: &MountEntry) -> bool {
    mount.fs_type == FS_TYPE && mount.source.starts_with(SOURCE_PREFIX)
}

/// Type and source, for messages.
pub(crate) fn describe(mount: &MountEntry) -> String {
    format!("type {} from {}", mount.fs_type, mount.source)
}

#[cfg(test)]
mod tests;
