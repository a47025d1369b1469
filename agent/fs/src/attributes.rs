//! What `stat(2)`, `statfs(2)` and permission checks answer: pure functions of a node and the Dataset's owner.

use crate::{FsError, Node, NodeKind, Totals};

/// The `st_blksize` and `f_bsize` answered, in bytes. One page, although reads are best large: the kernel's read-ahead makes
/// them large anyway, while programs that size their buffers by it (Python) would read this much for every few bytes wanted.
pub const BLOCK_SIZE: u32 = 4096;

/// The longest name that a directory can hold, in bytes.
pub const NAME_MAX: usize = 255;

const READ: u16 = 4;
const WRITE: u16 = 2;
const EXECUTE: u16 = 1;

/// Who owns a Dataset's files, and with which permission bits. Stores know no POSIX owners, so one answer holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id of every node.
    pub uid: u32,
    /// Group id of every node.
    pub gid: u32,
    /// Permission bits of files, `0o000` to `0o777`; write bits are shown but never grant a write.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
}

impl Default for Owner {
    /// Root's, readable by everyone: 0444 and 0555.
    fn default() -> Self {
        Self { uid: 0, gid: 0, file_mode: 0o444, dir_mode: 0o555 }
    }
}

/// The process that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its file system user id.
    pub uid: u32,
    /// Its file system group id. Supplementary groups are not known here; the kernel checks them (`default_permissions`).
    pub gid: u32,
}

/// A node as `stat(2)` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Inode number.
    pub ino: u64,
    /// File or directory.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u16,
    /// Hard links: 1 for a file; 2 and one per subdirectory for a directory, which `find` relies on to skip `stat`s.
    pub links: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Length in units of 512 bytes, rounded up. All of it counts: a file is as large as its object, cached or not, so that
    /// `du` tells the Dataset's size and no tool takes an uncached file for a sparse one.
    pub blocks: u64,
    /// Modification time in nanoseconds since 1970; access and change time are the same, stores know no other.
    pub mtime_ns: i64,
}

impl Attributes {
    /// The attributes of `node` under `owner`.
    #[must_use]
    pub fn of(node: &Node, owner: &Owner) -> Self {
        let (mode, links, size) = match node.kind {
            NodeKind::Dir => (owner.dir_mode, node.subdirectories.saturating_add(2), 0),
            NodeKind::File => (owner.file_mode, 1, node.size),
        };
        Self {
            ino: node.ino,
            kind: node.kind,
            mode: mode & 0o777,
            links,
            uid: owner.uid,
            gid: owner.gid,
            size,
            blocks: size.div_ceil(512),
            mtime_ns: node.mtime_ns,
        }
    }
}

/// A Dataset as `statfs(2)` and `df` show it: as large as its files, with nothing free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// Size in blocks of [`BLOCK_SIZE`].
    pub blocks: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// Longest name in bytes.
    pub name_max: u32,
}

impl Statfs {
    /// What `statfs(2)` answers for a Dataset of these totals.
    #[must_use]
    pub fn of(totals: &Totals) -> Self {
        Self {
            blocks: totals.bytes.div_ceil(u64::from(BLOCK_SIZE)),
            files: totals.files,
            block_size: BLOCK_SIZE,
            name_max: NAME_MAX as u32,
        }
    }
}

/// `access(2)`: whether `caller` may do all of `mask` (the `R_OK`, `W_OK`, `X_OK` bits; 0 asks for existence only).
///
/// # Errors
/// [`FsError::ReadOnly`] for any wish to write, [`FsError::Denied`], [`FsError::InvalidArgument`] for unknown bits.
pub fn access(attributes: &Attributes, caller: Caller, mask: i32) -> Result<(), FsError> {
    let wanted = u16::try_from(mask).ok().filter(|bits| *bits <= 7).ok_or(FsError::InvalidArgument)?;
    if wanted & WRITE != 0 {
        return Err(FsError::ReadOnly);
    }
    let any_execute = attributes.mode & 0o111 != 0 || attributes.kind == NodeKind::Dir;
    let granted = if caller.uid == 0 {
        READ | if any_execute { EXECUTE } else { 0 }
    } else if caller.uid == attributes.uid {
        attributes.mode >> 6
    } else if caller.gid == attributes.gid {
        attributes.mode >> 3
    } else {
        attributes.mode
    };
    if wanted & !granted == 0 {
        return Ok(());
    }
    Err(FsError::Denied {
        message: format!(
            "user {} may not use mode {:03o} owned by {}:{}",
            caller.uid, attributes.mode, attributes.uid, attributes.gid
        ),
    })
}

#[cfg(test)]
mod tests;
