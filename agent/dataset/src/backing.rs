//! A complete file of the cache, as the file system hands it on.

use std::io;
use std::os::fd::OwnedFd;

use forebay_cache::{Kept, Native};
use forebay_fs::{Backing, Kept as KeptBacking};

/// A complete cached file, held.
pub(crate) struct CachedFile(pub(crate) Native);

struct KeptFile(#[expect(dead_code, reason = "kept for its drop")] Kept);

impl Backing for CachedFile {
    fn open(&self) -> io::Result<OwnedFd> {
        let file = self.0.open()?;
        let fd = file.fd().ok_or(io::ErrorKind::Unsupported)?;
        fd.try_clone_to_owned()
    }

    fn place(&self) -> &str {
        self.0.tier()
    }

    fn keep(self: Box<Self>, wanted: Box<dyn Fn() + Send + Sync>) -> Box<dyn KeptBacking> {
        Box::new(KeptFile(self.0.keep_ready(wanted)))
    }
}

impl KeptBacking for KeptFile {}

impl std::fmt::Debug for CachedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CachedFile").field(&self.0.tier()).finish()
    }
}

impl std::fmt::Debug for KeptFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptFile")
    }
}
