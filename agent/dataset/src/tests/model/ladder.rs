//! The steps of the ladder by which a file is read, and those who go on reading what the cache wants back.

use std::any::Any;
use std::fs::File;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use forebay_fs::{Backing, FsError, Handle, Kept, NodeKind, Owner, ROOT_INO, Tree};

use super::reference::{Files, Version};
use super::step::Then;
use super::{Disk, World};
use crate::tests::{DEADLINE, soon};

/// Composed mounts at a time, and generations that they show.
pub(super) const MOUNTS: usize = 3;
/// Files that are read natively at a time.
const LENT: usize = 3;
/// The directory of objects beside the tree.
const NAME: &[u8] = b"\xffobjects";

/// An open file.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) handle: Handle,
    pub(super) key: &'static str,
    pub(super) version: Arc<Version>,
}

/// A cached file that somebody has open without us.
pub(super) struct Lent {
    file: File,
    key: &'static str,
    version: Arc<Version>,
    /// What this process has of the loan.
    hold: Option<Box<dyn Any>>,
}

/// A generation that a composed mount shows.
pub(super) struct Mounted {
    generation: u64,
    tree: Files,
}

impl Lent {
    /// Panics when something was taken out of it.
    pub(super) fn check(&self) {
        assert!(self.version.is_all_of(&self.file), "{} changed under who has it open", self.key);
    }

    /// The process ends; who reads goes on.
    pub(super) fn outlive(&mut self) {
        drop(self.hold.take());
    }
}

impl World {
    /// Reads what a handle was opened on: from the file that is lent for it where that is wanted and there is one, else through the tree.
    pub(super) async fn check(&self, held: &Held, at: u64, len: u32, native: bool) {
        if !native || self.borrow(held).is_none() {
            self.check_served(held, at, len).await;
        }
    }

    async fn check_served(&self, held: &Held, at: u64, len: u32) {
        let Held { handle, key, version } = held;
        let (current, begun) = (self.reference.is_current(key, version), Instant::now());
        let read = loop {
            match self.run().read(*handle, at, len).await {
                // A busy machine, too, may be slower than the store's limits here, which are short.
                Err(FsError::TimedOut { .. }) if self.store_well && begun.elapsed() < DEADLINE => {}
                read => break read,
            }
        };
        match read {
            Ok(bytes) => {
                assert!(bytes == *version.slice(at, len), "wrong bytes: {len} at {at} of {}, {key}", version.bytes.len())
            }
            Err(FsError::Stale { .. }) => assert!(!current || !self.store_well, "{key} is stale, yet the store has the version"),
            Err(FsError::InvalidHandle) => assert!(self.restarted, "{key}: a handle of this process"),
            Err(error @ (FsError::Io { .. } | FsError::TimedOut { .. } | FsError::Denied { .. })) => {
                assert!(!self.store_well, "{key}: {error}");
            }
            Err(error) => panic!("{key}: no read may fail like this: {error}"),
        }
    }

    /// The file that is lent for a handle now, which is whole.
    pub(super) fn borrow(&self, held: &Held) -> Option<(Box<dyn Backing>, File)> {
        let backing = self.run().dataset.backing(held.handle)?;
        match backing.open() {
            Ok(file) => {
                let file = File::from(file);
                assert!(held.version.is_all_of(&file), "{} is lent and is not whole", held.key);
                Some((backing, file))
            }
            Err(error) => {
                assert!(error.kind() == ErrorKind::NotFound || self.disk != Disk::Well, "{}: {error}", held.key);
                None
            }
        }
    }

    /// Somebody reads a file natively and goes on with it, if it is lent.
    pub(super) async fn lend(&mut self, key: &'static str, then: Then) {
        let Some(held) = self.open(key).await else { return };
        if let Some((backing, file)) = self.borrow(&held) {
            let hold: Option<Box<dyn Any>> = match then {
                Then::Hold => Some(Box::new(backing)),
                Then::KeepReady => Some(Box::new(keep_ready(backing))),
                Then::LetGo => None,
            };
            self.keep_open(Lent { file, key, version: held.version.clone(), hold });
        }
        self.run().dataset.release(held.handle);
    }

    fn keep_open(&mut self, lent: Lent) {
        if self.lent.len() == LENT {
            self.lent.remove(0);
        }
        self.lent.push(lent);
    }

    /// Mounts the newest generation, composed, and publishes what is pinned, and from then on what is small.
    pub(super) fn compose(&mut self) {
        let composed = self.run().dataset.compose_held(&Owner::default()).unwrap().expect("a tree is listed");
        assert!(composed.image.exists());
        self.run().dataset.publish(|| true);
        // A mount keeps the directories that it was given; a disk that fails now gives none.
        let published = self.run().cache.published();
        if !published.is_empty() {
            self.published = published;
        }
        if self.mounts.iter().any(|mounted| mounted.generation == composed.generation) {
            return;
        }
        self.mounts.push(Mounted { generation: composed.generation, tree: self.reference.tree.clone() });
        if self.mounts.len() > MOUNTS {
            self.unmount(0);
        }
    }

    pub(super) fn unmount(&mut self, which: usize) {
        if which < self.mounts.len() {
            self.mounts.remove(which);
            let left: Vec<u64> = self.mounts.iter().map(|mounted| mounted.generation).collect();
            self.run().dataset.hold_only(&left);
        }
    }

    /// Reads a file as one of the composed mounts does. Who found it published has it open from now on.
    pub(super) async fn read_composed(&mut self, mount: usize, key: &'static str, at: u64, len: u32) {
        if self.mounts.is_empty() {
            self.compose();
        }
        let mounted = &self.mounts[mount % self.mounts.len()];
        let Some(version) = mounted.tree.get(key).cloned() else { return };
        if let Some(file) = self.published_file(&version) {
            assert!(version.is_all_of(&file), "{key} is published and is not whole");
            return self.keep_open(Lent { file, key, version, hold: None });
        }
        let held = self.open_by_name(key, version).await;
        self.check(&held, at, len, true).await;
        self.run().dataset.release(held.handle);
    }

    /// What overlayfs finds in the directories of published files.
    pub(super) fn published_file(&self, version: &Version) -> Option<File> {
        let hex = version.id.hex();
        self.published.iter().find_map(|dir| match File::open(dir.join(&hex[..2]).join(&hex[2..])) {
            Ok(file) => Some(file),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                None
            }
        })
    }

    /// What it finds below them: the object by its name, whatever became of its path since.
    pub(super) async fn open_by_name(&self, key: &'static str, version: Arc<Version>) -> Held {
        let (tree, hex) = (self.run().dataset.beside(NAME), version.id.hex());
        let objects = tree.lookup(ROOT_INO, NAME).unwrap();
        let directory = tree.lookup(objects.ino, &hex.as_bytes()[..2]).unwrap();
        let node = tree.lookup(directory.ino, &hex.as_bytes()[2..]).expect("a mount shows the object");
        assert_eq!((node.kind, node.size), (NodeKind::File, version.bytes.len() as u64), "{key}");
        let opened = soon(tree.open(node.ino)).await.unwrap();
        Held { handle: opened.handle, key, version }
    }
}

/// Keeps a file ready for the next who opens it, and gives it up when asked.
fn keep_ready(backing: Box<dyn Backing>) -> Arc<Mutex<Option<Box<dyn Kept>>>> {
    let slot: Arc<Mutex<Option<Box<dyn Kept>>>> = Arc::default();
    let asked = Arc::downgrade(&slot);
    let kept = backing.keep(Box::new(move || {
        asked.upgrade().map(|slot| slot.lock().unwrap().take());
    }));
    *slot.lock().unwrap() = Some(kept);
    slot
}
