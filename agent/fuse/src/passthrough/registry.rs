//! Which way each inode is read: pure, and the kernel's rules for it.
//!
//! While an inode is open, all its handles are of one kind: the kernel answers EIO to an open of the other kind, and to one with another
//! backing id. So the first open decides, until the last release. An id outlives that: it is kept for the next open, in a
//! bounded number, until the file's owner wants that back.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// How an open is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reads come to us.
    Served,
    /// The kernel reads the file that has this backing id.
    Native(u32),
}

/// The inodes of one mount that are open or have an id. `H` holds a backing file, `K` keeps one ready.
#[derive(Debug)]
pub(crate) struct Registry<H, K> {
    inodes: HashMap<u64, Inode<H, K>>,
    /// Inodes whose id is kept though nobody has them open, by age.
    ages: BTreeMap<u64, u64>,
    clock: u64,
    most_kept: usize,
}

#[derive(Debug)]
enum Inode<H, K> {
    Served {
        handles: u64,
    },
    Native {
        id: u32,
        handles: u64,
        hold: H,
    },
    /// Dropping what is kept says that it is not ready any more.
    Kept {
        id: u32,
        age: u64,
        _kept: K,
    },
}

impl<H, K> Registry<H, K> {
    /// Keeps at most `most_kept` ids of inodes that nobody has open.
    pub(crate) fn new(most_kept: usize) -> Self {
        Self { inodes: HashMap::new(), ages: BTreeMap::new(), clock: 0, most_kept }
    }

    /// Opens an inode that is open already, the same way as before. `None` when it is not.
    pub(crate) fn join(&mut self, ino: u64) -> Option<Way> {
        match self.inodes.get_mut(&ino)? {
            Inode::Served { handles } => {
                *handles += 1;
                Some(Way::Served)
            }
            Inode::Native { id, handles, .. } => {
                *handles += 1;
                Some(Way::Native(*id))
            }
            Inode::Kept { .. } => None,
        }
    }

    /// Opens an inode without a backing file; an id that must be closed, because its file is none any more.
    pub(crate) fn open_served(&mut self, ino: u64) -> (Way, Option<u32>) {
        if let Some(way) = self.join(ino) {
            return (way, None);
        }
        let before = self.inodes.insert(ino, Inode::Served { handles: 1 });
        (Way::Served, before.and_then(|before| self.forget(before)))
    }

    /// Opens an inode that has a backing file. `Err` gives the hold back when that file needs an id first.
    pub(crate) fn open_native(&mut self, ino: u64, hold: H) -> Result<Way, H> {
        if let Some(way) = self.join(ino) {
            return Ok(way);
        }
        let Some(Inode::Kept { id, age, .. }) = self.inodes.remove(&ino) else { return Err(hold) };
        self.ages.remove(&age);
        self.inodes.insert(ino, Inode::Native { id, handles: 1, hold });
        Ok(Way::Native(id))
    }

    /// Opens an inode whose backing file has just got an id. Another open may have been faster: then `id` comes back, to be closed.
    pub(crate) fn open_registered(&mut self, ino: u64, id: u32, hold: H) -> (Way, Option<u32>) {
        match self.open_native(ino, hold) {
            Ok(way) => (way, Some(id)),
            Err(hold) => {
                self.inodes.insert(ino, Inode::Native { id, handles: 1, hold });
                (Way::Native(id), None)
            }
        }
    }

    /// Closes one handle. With the last one `keep` turns the hold into what keeps the file ready; the id that had to go
    /// for it, if too many are kept. Inodes that are not open here are a former server's.
    pub(crate) fn release(&mut self, ino: u64, keep: impl FnOnce(H) -> K) -> Option<u32> {
        let Entry::Occupied(mut there) = self.inodes.entry(ino) else { return None };
        match there.get_mut() {
            Inode::Kept { .. } => return None,
            Inode::Served { handles } | Inode::Native { handles, .. } if *handles > 1 => {
                *handles -= 1;
                return None;
            }
            Inode::Served { .. } | Inode::Native { .. } => {}
        }
        let Inode::Native { id, hold, .. } = there.remove() else { return None };
        if self.most_kept == 0 {
            return Some(id);
        }
        self.clock += 1;
        self.ages.insert(self.clock, ino);
        self.inodes.insert(ino, Inode::Kept { id, age: self.clock, _kept: keep(hold) });
        if self.ages.len() <= self.most_kept {
            return None;
        }
        let (_, oldest) = self.ages.pop_first()?;
        self.inodes.remove(&oldest).and_then(|oldest| self.forget(oldest))
    }

    /// Gives an inode's id up, to be closed, unless somebody has the inode open.
    pub(crate) fn give_back(&mut self, ino: u64) -> Option<u32> {
        let Entry::Occupied(there) = self.inodes.entry(ino) else { return None };
        if !matches!(there.get(), Inode::Kept { .. }) {
            return None;
        }
        let kept = there.remove();
        self.forget(kept)
    }

    /// Ids of inodes that nobody has open.
    pub(crate) fn kept(&self) -> usize {
        self.ages.len()
    }

    fn forget(&mut self, gone: Inode<H, K>) -> Option<u32> {
        let Inode::Kept { id, age, .. } = gone else { return None };
        self.ages.remove(&age);
        Some(id)
    }
}

#[cfg(test)]
mod tests;
