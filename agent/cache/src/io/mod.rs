//! The seam between the cache and a tier's file system, with three implementations: [`DiskIo`] does it, `MemoryIo` only remembers
//! it, `FailingIo` wraps either and fails on demand.

mod disk;
mod erase;
mod failing;
mod memory;
mod published;
mod sharing;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use disk::DiskIo;
pub use erase::erase;
pub use failing::{FailingIo, Faults, Op};
pub use memory::MemoryIo;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It must exist; only read.
    Read,
    /// It must exist; read and written.
    Existing,
    /// Read and written; made when absent, with the directories above it.
    Create,
    /// Made anew. What had the name stays as it is for whoever has it open.
    Replace,
}

/// What `stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Length in bytes.
    pub len: u64,
    /// Bytes allocated on the file system, holes excluded.
    pub allocated: u64,
    /// Last modification, since the Unix epoch.
    pub modified: Duration,
    /// Whether it has more than one name.
    pub linked: bool,
}

/// One tier's directory. Paths are relative to it, with `/` between their parts.
///
/// Errors carry the operating system's number: what the cache does about one depends on it.
pub trait TierIo: Send + Sync {
    /// Makes the directory, takes it for this process and finds out whether it can do what a cache needs (holes).
    /// `WouldBlock` when another process has it. May be called again after a failure.
    fn prepare(&self) -> io::Result<()>;
    /// Gives the directory up, for another process to take; what was opened stays open.
    fn release(&self);
    /// Opens a file.
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn FileIo>>;
    /// Renames a file over whatever has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, also from [`TierIo::published`]; one that is not there counts as removed.
    fn unlink(&self, path: &str) -> io::Result<()>;
    /// Describes a file; `None` when there is none.
    fn stat(&self, path: &str) -> io::Result<Option<FileStat>>;
    /// The file's `user.forebay` attribute; `None` when it, the file or the file system's support is absent.
    fn attribute(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Names in a directory, in no order; none when there is no such directory.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Bytes that an ordinary user may still write on the file system.
    fn free(&self) -> io::Result<u64>;
    /// The directory in which published files are `xx/<62 hex>`; made by this call. `None` where nothing can be published.
    fn published(&self) -> io::Result<Option<PathBuf>>;
    /// Makes a file of `objects/` readable there, for readers whom nobody can name. From then on it may only be unlinked.
    fn publish(&self, path: &str) -> io::Result<()>;
    /// Whether a file was published in this boot of the machine: what a former one left is not known to be whole.
    fn is_published(&self, path: &str) -> io::Result<bool>;
    /// Whether a file was published, in this boot or a former one: then nothing may be punched out of it.
    fn is_linked(&self, path: &str) -> io::Result<bool>;
    /// Takes back what [`TierIo::publish`] did: nobody finds the file any more. Who found it knows it still.
    fn conceal(&self, path: &str) -> io::Result<()>;
    /// Removes what former boots of the machine published.
    fn tidy_published(&self) -> io::Result<()>;
    /// Whether the file system answers [`FileIo::is_unshared`]. Where it does not, no file may be lent to readers.
    fn knows_sharers(&self) -> bool;
}

/// An open file of a tier.
pub trait FileIo: Send + Sync {
    /// Reads up to a buffer's length; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data`.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Sets the length; growing leaves a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Gives a range's space back; it reads as zeros then. The length stays. `ResourceBusy` for a published file.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// The `user.forebay` attribute, as [`TierIo::attribute`].
    fn attribute(&self) -> io::Result<Option<Vec<u8>>>;
    /// Sets it, whole or not at all.
    fn set_attribute(&self, value: &[u8]) -> io::Result<()>;
    /// Removes it; absent counts as removed.
    fn clear_attribute(&self) -> io::Result<()>;
    /// Waits until the file's data is on the medium.
    fn sync(&self) -> io::Result<()>;
    /// Whether nobody but this opening has the file open or mapped, in whatever process. Only of a file opened for writing.
    fn is_unshared(&self) -> io::Result<bool>;
    /// The descriptor, where there is a real one.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}
