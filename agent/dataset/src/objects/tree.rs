//! The objects as a file system: 256 directories named by the first byte of an object's name, and files named by the rest. Only what
//! is asked for by name is found: overlayfs never lists a data-only layer.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_cache::ObjectId;
use forebay_fs::{Backing, DirEntry, FsError, Handle, Node, NodeKind, Opened, ROOT_INO, Totals, Tree};

use crate::Dataset;

/// Inode number of the first directory; files have those of their entries in a catalog, which have 63 bits.
pub(super) const DIRECTORIES: u64 = 1 << 63;

/// What a version is called never changes what it is.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A Dataset's objects by name. Opened and read as the Dataset's files are.
#[derive(Clone, Debug)]
pub struct Objects {
    dataset: Dataset,
}

impl Objects {
    pub(crate) fn new(dataset: Dataset) -> Self {
        Self { dataset }
    }

    fn find(&self, first: u8, rest: &[u8]) -> Option<Node> {
        let name = format!("{first:02x}{}", std::str::from_utf8(rest).ok()?);
        let (generation, index) = self.dataset.inner.file_of(&ObjectId::from_hex(&name)?)?;
        let entry = generation.catalog.entry(index)?;
        let (ino, size, mtime_ns) = (entry.ino(), entry.size(), entry.mtime_ns());
        Some(Node { ino, kind: NodeKind::File, size, mtime_ns, subdirectories: 0 })
    }
}

/// The byte that a directory stands for.
fn byte_of(ino: u64) -> Option<u8> {
    u8::try_from(ino.checked_sub(DIRECTORIES)?).ok()
}

fn directory(ino: u64) -> Node {
    let subdirectories = if ino == ROOT_INO { 256 } else { 0 };
    Node { ino, kind: NodeKind::Dir, size: 0, mtime_ns: 0, subdirectories }
}

/// `xx` in lower case.
fn byte_named(name: &[u8]) -> Option<u8> {
    let byte = u8::from_str_radix(std::str::from_utf8(name).ok()?, 16).ok()?;
    (format!("{byte:02x}").as_bytes() == name).then_some(byte)
}

#[async_trait]
impl Tree for Objects {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        if ino == ROOT_INO || byte_of(ino).is_some() { Ok(directory(ino)) } else { self.dataset.node(ino) }
    }

    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        if parent == ROOT_INO {
            return byte_named(name).map(|byte| directory(DIRECTORIES + u64::from(byte))).ok_or(FsError::NotFound);
        }
        self.find(byte_of(parent).ok_or(FsError::NotADirectory)?, name).ok_or(FsError::NotFound)
    }

    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        if dir != ROOT_INO {
            return byte_of(dir).map(drop).ok_or(FsError::NotADirectory);
        }
        for byte in from..256 {
            let node = directory(DIRECTORIES + byte);
            if !each(&DirEntry { name: format!("{byte:02x}").as_bytes(), cookie: byte + 1, node }) {
                break;
            }
        }
        Ok(())
    }

    fn parent(&self, _dir: u64) -> Result<u64, FsError> {
        Ok(ROOT_INO)
    }

    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        self.dataset.try_open(ino)
    }

    async fn open(&self, ino: u64) -> Result<Opened, FsError> {
        self.dataset.open(ino).await
    }

    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        self.dataset.backing(handle)
    }

    fn release(&self, handle: Handle) {
        self.dataset.release(handle);
    }

    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        self.dataset.handle_node(handle)
    }

    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        self.dataset.try_read(handle, offset, buf)
    }

    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.dataset.read(handle, offset, len).await
    }

    fn totals(&self) -> Totals {
        self.dataset.totals()
    }

    fn validity(&self) -> Duration {
        FOR_EVER
    }

    fn generation_tag(&self) -> u64 {
        self.dataset.generation_tag()
    }
}
