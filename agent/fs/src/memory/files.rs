//! The twin's complete files: lent and taken back as a cache does it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Backing, Kept};

type Wanted = Arc<dyn Fn() + Send + Sync>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By inode number.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<u64, Arc<Stored>>>);

#[derive(Debug)]
struct Stored {
    file: File,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    holders: usize,
    kept: BTreeMap<u64, Wanted>,
    numbers: u64,
}

impl Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("holders", &self.holders).field("kept", &self.kept.len()).finish()
    }
}

impl Files {
    pub(super) fn complete(&self, ino: u64, file: File) {
        lock(&self.0).insert(ino, Arc::new(Stored { file, users: Mutex::default() }));
    }

    pub(super) fn take_back(&self, ino: u64) -> bool {
        let Some(stored) = lock(&self.0).get(&ino).cloned() else { return true };
        let keepers: Vec<Wanted> = lock(&stored.users).kept.values().cloned().collect();
        for wanted in keepers {
            wanted();
        }
        let mut files = lock(&self.0);
        let users = lock(&stored.users);
        let free = users.holders == 0 && users.kept.is_empty();
        if free {
            files.remove(&ino);
        }
        free
    }

    pub(super) fn is_lent(&self, ino: u64) -> bool {
        lock(&self.0).get(&ino).is_some_and(|stored| {
            let users = lock(&stored.users);
            users.holders > 0 || !users.kept.is_empty()
        })
    }

    pub(super) fn lend(&self, ino: u64) -> Option<Box<dyn Backing>> {
        let files = lock(&self.0);
        let stored = files.get(&ino)?.clone();
        lock(&stored.users).holders += 1;
        Some(Box::new(Lent(stored)))
    }
}

#[derive(Debug)]
struct Lent(Arc<Stored>);

#[derive(Debug)]
struct Ready {
    stored: Arc<Stored>,
    number: u64,
}

impl Backing for Lent {
    fn open(&self) -> io::Result<OwnedFd> {
        // An opening of its own, as a cache makes them; what is stored may be one that reads nothing (`O_PATH`).
        Ok(File::open(format!("/proc/self/fd/{}", self.0.file.as_raw_fd()))?.into())
    }

    fn place(&self) -> &str {
        "memory"
    }

    fn keep(self: Box<Self>, wanted: Box<dyn Fn() + Send + Sync>) -> Box<dyn Kept> {
        let mut users = lock(&self.0.users);
        users.numbers += 1;
        let number = users.numbers;
        users.kept.insert(number, wanted.into());
        drop(users);
        // Dropped behind this, the lease ends when the other has begun.
        Box::new(Ready { stored: self.0.clone(), number })
    }
}

impl Kept for Ready {}

impl Drop for Lent {
    fn drop(&mut self) {
        lock(&self.0.users).holders -= 1;
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        lock(&self.stored.users).kept.remove(&self.number);
    }
}
