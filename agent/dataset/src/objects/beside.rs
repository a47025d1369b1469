use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_fs::{Backing, DirEntry, FsError, Handle, Node, Opened, ROOT_INO, Totals, Tree};

use super::Objects;
use super::tree::DIRECTORIES;
use crate::Dataset;

/// The directory's inode number, behind those of the directories in it.
const INO: u64 = DIRECTORIES + 256;

/// A Dataset's tree with [`Objects`] beside it in a directory of its root, which is found by name and not listed: one mount serves those who see the tree, and composed mounts with their data.
#[derive(Clone, Debug)]
pub struct Beside {
    dataset: Dataset,
    objects: Objects,
    name: &'static [u8],
}

impl Beside {
    pub(crate) fn new(dataset: Dataset, name: &'static [u8]) -> Self {
        Self { objects: dataset.objects(), dataset, name }
    }

    /// The tree that a directory or an inode is of, and its number there.
    fn side(&self, ino: u64) -> (&dyn Tree, u64) {
        match ino {
            INO => (&self.objects, ROOT_INO),
            DIRECTORIES.. => (&self.objects, ino),
            // Files have one number on both sides.
            _ => (&self.dataset, ino),
        }
    }

    fn root_of_objects(mut node: Node) -> Node {
        node.ino = INO;
        node
    }
}

#[async_trait]
impl Tree for Beside {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        let (side, number) = self.side(ino);
        let node = side.node(number)?;
        Ok(if ino == INO { Self::root_of_objects(node) } else { node })
    }

    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        if parent == ROOT_INO && name == self.name {
            return self.objects.node(ROOT_INO).map(Self::root_of_objects);
        }
        let (side, number) = self.side(parent);
        side.lookup(number, name)
    }

    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        let (side, number) = self.side(dir);
        side.read_dir(number, from, each)
    }

    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        match dir {
            INO => Ok(ROOT_INO),
            DIRECTORIES.. => Ok(INO),
            _ => self.dataset.parent(dir),
        }
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
        self.dataset.validity()
    }

    fn generation_tag(&self) -> u64 {
        self.dataset.generation_tag()
    }

    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        self.dataset.xattrs(ino)
    }
}
