//! The file system: each method is one request, answered from the tree alone. Nothing is remembered between requests, so
//! that the next process can answer where this one stopped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::attributes::{self, Attributes, Caller, NAME_MAX, Owner, Statfs};
use crate::{Backing, FsError, Handle, Node, NodeKind, Opened, Tree};

/// No answer is believed longer than this, whatever the tree says: far beyond a mount's life, yet representable everywhere.
pub const MAX_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Directory offsets 0 and 1 are those of `.` and `..`; the tree's cookies come behind.
const FIRST_NAMED: u64 = 2;

/// The answer to a look-up, with how long the kernel may believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The name is there.
    Present {
        /// Its attributes.
        attributes: Attributes,
        /// For how long.
        validity: Duration,
    },
    /// The name is not there: an answer, not a failure, and as worth keeping as the other.
    Absent {
        /// For how long.
        validity: Duration,
    },
}

/// One line of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name; `.` and `..` included.
    pub name: &'a [u8],
    /// The offset at which a listing goes on behind this line; 1 to `i64::MAX`.
    pub next: u64,
    /// What the name stands for.
    pub attributes: Attributes,
}

/// The file system over one Dataset's tree.
#[derive(Debug)]
pub struct FileSystem<T: Tree> {
    tree: Arc<T>,
    owner: Owner,
}

impl<T: Tree> Clone for FileSystem<T> {
    fn clone(&self) -> Self {
        Self { tree: Arc::clone(&self.tree), owner: self.owner }
    }
}

impl<T: Tree> FileSystem<T> {
    /// Shows `tree`, all of it owned by `owner`.
    #[must_use]
    pub fn new(tree: Arc<T>, owner: Owner) -> Self {
        Self { tree, owner }
    }

    /// The tree below.
    #[must_use]
    pub fn tree(&self) -> &Arc<T> {
        &self.tree
    }

    /// How long entries and attributes answered now may be believed.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.tree.validity().min(MAX_VALIDITY)
    }

    fn show(&self, node: &Node) -> Attributes {
        Attributes::of(node, &self.owner)
    }

    /// `stat(2)` by number, or `fstat(2)` of an open file: then of the version that was opened.
    ///
    /// # Errors
    /// As [`Tree::node`] and [`Tree::handle_node`].
    pub fn getattr(&self, ino: u64, handle: Option<Handle>) -> Result<Attributes, FsError> {
        let node = match handle {
            Some(handle) => self.tree.handle_node(handle)?,
            None => self.tree.node(ino)?,
        };
        Ok(self.show(&node))
    }

    /// Looks `name` up in directory `parent`. `.` and `..` are answered too: a kernel that re-exports the mount asks for them.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], [`FsError::NameTooLong`], and [`FsError::NotFound`] when `parent` itself is gone.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Entry, FsError> {
        let validity = self.validity();
        let found = match name {
            b"." => self.tree.node(parent),
            b".." => self.tree.parent(parent).and_then(|above| self.tree.node(above)),
            _ if name.len() > NAME_MAX => return Err(FsError::NameTooLong),
            _ => self.tree.lookup(parent, name),
        };
        match found {
            Ok(node) => Ok(Entry::Present { attributes: self.show(&node), validity }),
            Err(FsError::NotFound) => self.tree.node(parent).map(|_| Entry::Absent { validity }),
            Err(error) => Err(error),
        }
    }

    /// Opens a file if that needs no waiting; `None` sends the caller to [`FileSystem::open`]. `flags` as in `open(2)`.
    pub fn try_open(&self, ino: u64, flags: i32) -> Option<Result<Opened, FsError>> {
        match read_only(flags) {
            Ok(()) => self.tree.try_open(ino),
            Err(error) => Some(Err(error)),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FsError::ReadOnly`] for any flag that a write would need, else as [`Tree::open`].
    pub async fn open(&self, ino: u64, flags: i32) -> Result<Opened, FsError> {
        read_only(flags)?;
        self.tree.open(ino).await
    }

    /// A local file to be read in place of what `handle` was opened on, as [`Tree::backing`].
    #[must_use]
    pub fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        self.tree.backing(handle)
    }

    /// Gives a handle back.
    pub fn release(&self, handle: Handle) {
        self.tree.release(handle);
    }

    /// Reads into `buf` if that needs no waiting, as [`Tree::try_read`].
    pub fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        self.tree.try_read(handle, offset, buf)
    }

    /// Reads up to `len` bytes from `offset`, as [`Tree::read`].
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.tree.read(handle, offset, len).await
    }

    /// Checks that `ino` can be listed. Directories need no handle.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], and as [`Tree::node`].
    pub fn open_dir(&self, ino: u64) -> Result<(), FsError> {
        if self.tree.node(ino)?.is_dir() { Ok(()) } else { Err(FsError::NotADirectory) }
    }

    /// Lists directory `ino` from `offset` (0, or the `next` of any line of an earlier call) until `each` answers `false`, the
    /// line then counting as not taken, or the end is reached.
    ///
    /// # Errors
    /// As [`Tree::read_dir`].
    pub fn read_dir(&self, ino: u64, offset: u64, each: &mut dyn FnMut(&Listed<'_>) -> bool) -> Result<(), FsError> {
        if offset == 0 {
            let attributes = self.show(&self.tree.node(ino)?);
            if attributes.kind != NodeKind::Dir {
                return Err(FsError::NotADirectory);
            }
            if !each(&Listed { name: b".", next: 1, attributes }) {
                return Ok(());
            }
        }
        if offset <= 1 {
            let above = self.tree.node(self.tree.parent(ino)?)?;
            if !each(&Listed { name: b"..", next: FIRST_NAMED, attributes: self.show(&above) }) {
                return Ok(());
            }
        }
        let from = offset.saturating_sub(FIRST_NAMED);
        self.tree.read_dir(ino, from, &mut |entry| {
            let next = entry.cookie.saturating_add(FIRST_NAMED);
            each(&Listed { name: entry.name, next, attributes: self.show(&entry.node) })
        })
    }

    /// `statfs(2)`: the Dataset's totals.
    #[must_use]
    pub fn statfs(&self) -> Statfs {
        Statfs::of(&self.tree.totals())
    }

    /// `access(2)` for callers whom the kernel does not check itself.
    ///
    /// # Errors
    /// As [`attributes::access`](crate::access) and [`Tree::node`].
    pub fn access(&self, ino: u64, caller: Caller, mask: i32) -> Result<(), FsError> {
        attributes::access(&self.getattr(ino, None)?, caller, mask)
    }

    /// `lseek(2)` for `SEEK_DATA` and `SEEK_HOLE`: a file is one piece of data, cached or not, with the hole that every file
    /// has at its end. Other kinds of seek never leave the kernel.
    ///
    /// # Errors
    /// [`FsError::NoSuchOffset`] from the end on, [`FsError::InvalidArgument`] for another `whence`.
    pub fn seek(&self, handle: Handle, offset: i64, whence: i32) -> Result<i64, FsError> {
        let size = self.tree.handle_node(handle)?.size;
        let inside = u64::try_from(offset).ok().filter(|at| *at < size);
        match (whence, inside) {
            (libc::SEEK_DATA, Some(_)) => Ok(offset),
            (libc::SEEK_HOLE, Some(_)) => i64::try_from(size).map_err(|_| FsError::InvalidArgument),
            (libc::SEEK_DATA | libc::SEEK_HOLE, None) => Err(FsError::NoSuchOffset),
            _ => Err(FsError::InvalidArgument),
        }
    }

    /// `getxattr(2)`: the value of extended attribute `name`.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`], and as [`Tree::xattrs`].
    pub fn xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>, FsError> {
        let all = self.tree.xattrs(ino)?;
        let found = all.into_iter().find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, value)| value.into_bytes()).ok_or(FsError::NoAttribute)
    }

    /// `listxattr(2)`: the names, each ended by a NUL byte.
    ///
    /// # Errors
    /// As [`Tree::xattrs`].
    pub fn xattr_names(&self, ino: u64) -> Result<Vec<u8>, FsError> {
        let mut names = Vec::new();
        for (name, _) in self.tree.xattrs(ino)? {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        Ok(names)
    }
}

/// Refuses open flags that ask for more than reading. `O_CREAT` and `O_APPEND` do not: on a file that is there, opened for
/// reading, neither changes anything, and every read-only file system lets them pass.
fn read_only(flags: i32) -> Result<(), FsError> {
    let reads = flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_TRUNC == 0;
    if reads { Ok(()) } else { Err(FsError::ReadOnly) }
}

/// How an extended attribute of `value.len()` bytes is answered to a caller with room for `size` bytes: `None` tells the length only
/// (`size` 0 asks for it).
///
/// # Errors
/// [`FsError::BufferTooSmall`].
pub fn fit_xattr(value: Vec<u8>, size: u32) -> Result<(u32, Option<Vec<u8>>), FsError> {
    let length = u32::try_from(value.len()).map_err(|_| FsError::BufferTooSmall)?;
    match size {
        0 => Ok((length, None)),
        room if room < length => Err(FsError::BufferTooSmall),
        _ => Ok((length, Some(value))),
    }
}

#[cfg(test)]
mod tests;
