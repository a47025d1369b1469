//! How a directory's names are packed into blocks: as many as fit, in order. Planning counts, writing does the same with bytes.

use crate::format::{BLOCK, DIRENT_LEN, Dirent, INODE_LEN, ROOT_AT};

/// The blocks of a directory, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Blocks that are closed because the next name did not fit.
    closed: u32,
    /// Bytes taken of the block behind them.
    used: usize,
}

impl Packing {
    /// Adds a name; whether it begins a new block.
    pub(crate) fn add(&mut self, name: &[u8]) -> bool {
        let len = DIRENT_LEN + name.len();
        if self.used + len > BLOCK {
            // A directory with this many blocks has more entries than a source can count.
            self.closed = self.closed.saturating_add(1);
            self.used = len;
            return true;
        }
        self.used += len;
        false
    }

    /// Length of the directory in bytes.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.closed) * BLOCK as u64 + self.used as u64
    }

    /// Whether the last block lies behind the inode rather than on its own: where both fit a block that they do not begin. The root has to
    /// lie where the superblock says, behind the first slot.
    pub(crate) fn is_inline(&self) -> bool {
        self.used <= BLOCK - INODE_LEN - ROOT_AT
    }

    /// Bytes that lie behind the inode.
    pub(crate) fn inline_len(&self) -> usize {
        if self.is_inline() { self.used } else { 0 }
    }

    /// Blocks apart from the inode.
    pub(crate) fn blocks(&self) -> u32 {
        if self.is_inline() { self.closed } else { self.closed.saturating_add(1) }
    }
}

/// One block of a directory while names are added to it: entries, then names.
#[derive(Debug, Default)]
pub(crate) struct Page {
    entries: Vec<(Dirent, u16)>,
    names: Vec<u8>,
}

impl Page {
    pub(crate) fn add(&mut self, name: &[u8], dirent: Dirent) {
        #[expect(clippy::cast_possible_truncation, reason = "names that fit a block are shorter than 64 KiB")]
        self.entries.push((dirent, name.len() as u16));
        self.names.extend_from_slice(name);
    }

    /// Takes the block's bytes, as long as they are, and begins the next.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let mut name_at = self.entries.len() * DIRENT_LEN;
        for (dirent, len) in self.entries.drain(..) {
            out.extend_from_slice(&dirent.encode(name_at));
            name_at += usize::from(len);
        }
        out.append(&mut self.names);
    }
}

/// Goes through the names of a directory in the order of their bytes: those given, with `.` and `..` at their places.
#[derive(Debug, Default)]
pub(crate) struct Dots {
    given: usize,
}

const DOTS: [&[u8]; 2] = [b".", b".."];

impl Dots {
    /// The next of `.` and `..` if it comes before `name`; without a name, whatever is left.
    pub(crate) fn before(&mut self, name: Option<&[u8]>) -> Option<&'static [u8]> {
        let next = *DOTS.get(self.given)?;
        if name.is_some_and(|name| name < next) {
            return None;
        }
        self.given += 1;
        Some(next)
    }
}
