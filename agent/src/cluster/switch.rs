use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::node::OBJECTS;
use forebay_dataset::{Beside, Dataset};
use forebay_fs::{Backing, DirEntry, FsError, Handle, Node, Opened, Totals, Tree};

/// A Dataset that can be replaced by one of other wishes or credentials while its mounts go on. Handles say which version
/// was opened and not where it is remembered, so the next Dataset understands those that the former one gave.
#[derive(Debug)]
pub(crate) struct Switch {
    current: RwLock<(Dataset, Beside)>,
}

impl Switch {
    pub(crate) fn new(dataset: Dataset) -> Self {
        Self { current: RwLock::new(with_objects(dataset)) }
    }

    /// From now on `dataset` answers; what the former one is answering, it answers to the end.
    pub(crate) fn set(&self, dataset: Dataset) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = with_objects(dataset);
    }

    /// The Dataset that answers now.
    pub(crate) fn now(&self) -> Dataset {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Its tree, with what composed mounts look for.
    fn tree(&self) -> Beside {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

fn with_objects(dataset: Dataset) -> (Dataset, Beside) {
    let tree = dataset.beside(OBJECTS);
    (dataset, tree)
}

#[async_trait]
impl Tree for Switch {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        self.tree().node(ino)
    }
    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        self.tree().lookup(parent, name)
    }
    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        self.tree().read_dir(dir, from, each)
    }
    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        self.tree().parent(dir)
    }
    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        self.tree().try_open(ino)
    }
    async fn open(&self, ino: u64) -> Result<Opened, FsError> {
        self.tree().open(ino).await
    }
    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        self.tree().backing(handle)
    }
    fn release(&self, handle: Handle) {
        self.tree().release(handle);
    }
    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        self.tree().handle_node(handle)
    }
    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        self.tree().try_read(handle, offset, buf)
    }
    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.tree().read(handle, offset, len).await
    }
    fn totals(&self) -> Totals {
        self.tree().totals()
    }
    fn validity(&self) -> Duration {
        self.tree().validity()
    }
    fn generation_tag(&self) -> u64 {
        self.tree().generation_tag()
    }
    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        self.tree().xattrs(ino)
    }
}
