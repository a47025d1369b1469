//! The seam between the file system and whoever owns a Dataset's generations.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backing, DirEntry, FsError, Node};

/// An open file, understood by this process and by the next one: it encodes what was opened, not where it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// What the kernel may do with the pages of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageCache {
    /// The inode number stands for this version only: pages read earlier stay valid, pages read now may be kept.
    Keep,
    /// Another version of the file was or is open under the same inode number: this handle's reads go past the page
    /// cache, so that two versions never mix in it.
    Bypass,
}

/// The answer to an open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// To be given back by exactly one [`Tree::release`].
    pub handle: Handle,
    /// Whether the kernel may serve it from its page cache.
    pub page_cache: PageCache,
}

/// A Dataset as a whole, for statfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files in the current generation.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
    /// How many of those bytes are in the cache of this node.
    pub cached_bytes: u64,
}

/// One Dataset's tree as the file system needs it.
///
/// **Inode numbers.** The kernel keeps pages and attributes by inode number, so a number should stand for one *version* of a
/// file: when an object changes, its path gets another number, as it would after `rename(2)` over it, and open files go on
/// with the pages of the old one. A tree that keeps the number across versions must answer [`PageCache::Bypass`] to every
/// open that could meet pages of another version. Numbers are the same after a restart; the root is [`ROOT_INO`](crate::ROOT_INO).
///
/// **Which generation.** Methods that take a name or an `ino` answer from the current generation. For an `ino` which only an
/// earlier generation had, they answer from that one as long as it is kept (a handle is open on it), else [`FsError::Stale`].
/// Methods that take a [`Handle`] answer from the version that was opened.
///
/// **Waiting.** The methods which are not `async` never wait for a store or a disk other than the catalog's: they are called
/// on the threads that serve the kernel.
#[async_trait]
pub trait Tree: Send + Sync + 'static {
    /// The node with this number.
    ///
    /// # Errors
    /// [`FsError::NotFound`] for a number that never was, [`FsError::Stale`] for one of a generation no longer kept.
    fn node(&self, ino: u64) -> Result<Node, FsError>;

    /// The node called `name` (any bytes; not `.` or `..`) in directory `parent`.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError>;

    /// Walks directory `dir` in the generation's order, from the start (`from` = 0) or from behind the entry whose cookie
    /// `from` is, and calls `each` until it answers `false` (that entry counts as not taken) or the end is reached. Costs the
    /// entries walked, not the directory: a listing of n entries in pieces is O(n). `from` comes from the kernel and may be any
    /// number: out of range is the end. Without `.` and `..`.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::Stale`].
    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError>;

    /// The directory above directory `dir`; the root's is the root.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    fn parent(&self, dir: u64) -> Result<u64, FsError>;

    /// Opens a file for reading if that needs no waiting; `None` sends the caller to [`Tree::open`].
    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        let _ = ino;
        None
    }

    /// Opens a file for reading; may look at the store, as the consistency policy says. Dropping the future opens nothing.
    ///
    /// # Errors
    /// [`FsError::IsADirectory`], [`FsError::NotFound`], and whatever the store answers.
    async fn open(&self, ino: u64) -> Result<Opened, FsError>;

    /// A local file with the bytes of what `handle` was opened on, if there is a complete one now. Counts as a use of the whole file, for
    /// nobody will see its reads. May read the file once, to be sure of it.
    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        let _ = handle;
        None
    }

    /// Gives a handle back. Unknown handles are ignored: they may be a former process's.
    fn release(&self, handle: Handle);

    /// The version that `handle` was opened with.
    ///
    /// # Errors
    /// [`FsError::InvalidHandle`].
    fn handle_node(&self, handle: Handle) -> Result<Node, FsError>;

    /// Fills `buf` from `offset` (bytes) if that needs no waiting: `Some` with the count, less than `buf.len()` only at the
    /// end of the file; `None` sends the caller to [`Tree::read`], and `buf` may have been written to.
    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>>;

    /// Up to `len` bytes from `offset`, fewer only at the end of the file. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// [`FsError::InvalidHandle`], [`FsError::Stale`] when the version is gone, [`FsError::Io`] and the like for the store's.
    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError>;

    /// The Dataset as a whole.
    fn totals(&self) -> Totals;

    /// How long entries (present or absent) and attributes answered now may be believed: very long within an immutable
    /// generation, what is left of it under `MaxAge`, zero when every look must be checked.
    fn validity(&self) -> Duration;

    /// A number that differs between generations.
    fn generation_tag(&self) -> u64;

    /// Extended attributes of a node as (name, value), names beginning with `user.forebay.`: what an operator asks when
    /// one file is slow (`object`, `version`, `cached`). Few and short.
    ///
    /// # Errors
    /// As [`Tree::node`].
    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        self.node(ino).map(|_| Vec::new())
    }
}
