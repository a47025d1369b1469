//! Gets and closes backing ids.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Who may tell the kernel which files it reads by itself. Calls may come from any thread, and may wait.
pub trait Registrar: Debug + Send + Sync {
    /// Gives `file` a backing id on the mount. The kernel has a reference of its own then.
    ///
    /// # Errors
    /// The kernel's, as an error of the operating system; any other kind means that it can be tried again.
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32>;

    /// Closes an id. Who has the file open by it goes on.
    ///
    /// # Errors
    /// As for [`Registrar::register`]. `TimedOut`: who does it has not answered for so long as one may wait.
    fn close(&self, id: u32) -> io::Result<()>;
}

/// What a server of a mount that outlives it needs for native reads.
#[derive(Debug)]
pub struct Shared {
    /// Who may register files on the mount.
    pub registrar: Box<dyn Registrar>,
    /// The file of the mount's [`forebay_backing::Table`], opened anew: the one that all its servers have had since its first.
    pub table: File,
}

/// Does it through the mount's own descriptor. Needs CAP_SYS_ADMIN outside of any user namespace.
#[derive(Debug)]
pub(crate) struct Direct(pub(crate) OwnedFd);

impl Registrar for Direct {
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        forebay_backing::register(&self.0, file)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        forebay_backing::close(&self.0, id)
    }
}
