use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fs::{DirEntry, FsError, Handle, Node, Opened, PageCache, Totals, Tree};
use forebay_fuse::{MountOptions, Mounted, mount};

use crate::harness::{FOREVER, directory, pattern, runtime};

/// The twin, taking down what it is asked.
struct Asked {
    inner: MemoryTree,
    page_cache: PageCache,
    log: Mutex<Vec<(&'static str, u64, usize)>>,
}

impl Asked {
    fn note(&self, what: &'static str, offset: u64, length: usize) {
        self.log.lock().unwrap().push((what, offset, length));
    }

    /// What was asked since the last call, of one kind.
    fn take(&self, kind: &str) -> Vec<(u64, usize)> {
        let all = std::mem::take(&mut *self.log.lock().unwrap());
        all.into_iter().filter(|(what, ..)| *what == kind).map(|(_, offset, length)| (offset, length)).collect()
    }
}

#[async_trait::async_trait]
impl Tree for Asked {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        self.note("node", ino, 0);
        self.inner.node(ino)
    }
    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        self.note("lookup", parent, name.len());
        self.inner.lookup(parent, name)
    }
    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        self.note("read_dir", from, 0);
        self.inner.read_dir(dir, from, each)
    }
    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        self.inner.parent(dir)
    }
    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        self.note("open", ino, 0);
        let opened = self.inner.try_open(ino)?;
        Some(opened.map(|opened| Opened { page_cache: self.page_cache, ..opened }))
    }
    async fn open(&self, ino: u64) -> Result<Opened, FsError> {
        self.inner.open(ino).await
    }
    fn release(&self, handle: Handle) {
        self.note("release", handle.0, 0);
    }
    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        self.inner.handle_node(handle)
    }
    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        self.note("read", offset, buf.len());
        self.inner.try_read(handle, offset, buf)
    }
    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.inner.read(handle, offset, len).await
    }
    fn totals(&self) -> Totals {
        self.inner.totals()
    }
    fn validity(&self) -> Duration {
        self.inner.validity()
    }
    fn generation_tag(&self) -> u64 {
        self.inner.generation_tag()
    }
}

const SIZE: usize = 16 << 20;

fn show(page_cache: PageCache) -> (Arc<Asked>, Mounted, tempfile::TempDir) {
    let contents =
        (0..300).fold(Contents::new().file("big", pattern(1, SIZE), 0), |all, at| all.file(format!("d/file-{at}"), "small", 0));
    let inner = MemoryTree::new(&contents, FOREVER);
    let tree = Arc::new(Asked { inner, page_cache, log: Mutex::default() });
    let dir = directory();
    let options = MountOptions::new("tests/asked", dir.path().join("m"));
    let mounted = mount(Arc::clone(&tree), &options, runtime().handle().clone()).unwrap();
    (tree, mounted, dir)
}

fn read_all(mounted: &Mounted) {
    let mut found = Vec::new();
    File::open(mounted.at().join("big")).unwrap().read_to_end(&mut found).unwrap();
    assert!(found == pattern(1, SIZE));
}

#[test]
fn pages_are_kept_from_one_open_to_the_next() {
    let (tree, mounted, _dir) = show(PageCache::Keep);
    read_all(&mounted);
    assert!(!tree.take("read").is_empty());
    read_all(&mounted);
    assert_eq!(tree.take("read"), []);
    let ino = fs::metadata(mounted.at().join("big")).unwrap().ino();
    mounted.notifier().invalidate_inode(ino).unwrap();
    read_all(&mounted);
    assert!(!tree.take("read").is_empty());
}

#[test]
fn pages_are_passed_by_when_the_tree_says_so() {
    let (tree, mounted, _dir) = show(PageCache::Bypass);
    for _ in 0..2 {
        read_all(&mounted);
        assert!(tree.take("read").iter().map(|(_, length)| length).sum::<usize>() >= SIZE);
    }
}

/// 128 KiB is what the kernel does without being told otherwise.
#[test]
fn sequential_reads_come_in_large_pieces() {
    let (tree, mounted, _dir) = show(PageCache::Keep);
    read_all(&mounted);
    let reads = tree.take("read");
    let largest = reads.iter().map(|(_, length)| *length).max().unwrap();
    assert!(largest <= 1 << 20, "{reads:?}");
    if rustix::process::geteuid().is_root() {
        assert!(largest > 256 << 10 && reads.len() < SIZE / (128 << 10), "{reads:?}");
    }
}

#[test]
fn random_reads_ask_for_what_is_wanted() {
    let (tree, mounted, _dir) = show(PageCache::Keep);
    let file = File::open(mounted.at().join("big")).unwrap();
    let mut buf = [0; 4096];
    for at in [2000u64, 1000, 3000, 500, 3500, 1500] {
        file.read_exact_at(&mut buf, at * 4096).unwrap();
    }
    let lengths: Vec<_> = tree.take("read").into_iter().map(|(_, length)| length).collect();
    assert_eq!(lengths, [4096; 6]);
}

#[test]
fn a_second_listing_asks_nothing() {
    let (tree, mounted, _dir) = show(PageCache::Keep);
    let list = || {
        let entries = fs::read_dir(mounted.at().join("d")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    // The first time the kernel remembers, as it was told at opening that it may; afterwards it need not ask.
    assert_eq!(list(), 1500);
    let looked: Vec<_> = tree.take("lookup");
    assert!(looked.len() < 10, "sizes come with the names: {looked:?}");
    list();
    tree.take("read_dir");
    list();
    assert_eq!(tree.take("read_dir"), []);
    list();
    assert_eq!(tree.take("lookup"), []);
    // Nor for what is known not to be there.
    for _ in 0..3 {
        assert!(fs::metadata(mounted.at().join("d/none")).is_err());
    }
    assert_eq!(tree.take("lookup").len(), 1);
}

#[test]
fn every_open_is_released_once() {
    let (tree, mounted, _dir) = show(PageCache::Keep);
    for _ in 0..20 {
        let file = File::open(mounted.at().join("d/file-7")).unwrap();
        let twin = file.try_clone().unwrap();
        drop(file);
        drop(twin);
    }
    let (mut opened, mut released) = (0, 0);
    crate::harness::wait_until("all are released", || {
        let log = std::mem::take(&mut *tree.log.lock().unwrap());
        opened += log.iter().filter(|(what, ..)| *what == "open").count();
        released += log.iter().filter(|(what, ..)| *what == "release").count();
        opened >= 20 && opened == released
    });
}
