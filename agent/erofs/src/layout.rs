//! Where each inode lies: computed anew from the sizes of those before it, so that nothing need be remembered of any.

use std::ops::Range;

use crate::directory::{Dots, Packing};
use crate::format::{BLOCK, INODE_LEN, MAX_SIZE, ROOT_AT, SLOT, XATTR_LEN, holes_len};
use crate::{Entry, Kind, Source, WriteError};

/// An entry and its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) index: u32,
    pub(crate) entry: Entry<'a>,
    /// Offset of its inode in the inode area, bytes.
    pub(crate) at: u64,
    /// Indexes of the entries directly inside; none for a file.
    pub(crate) children: Range<u32>,
    /// Its names; none for a file.
    pub(crate) packing: Packing,
    /// The first of its blocks apart from the inode, counted from the first of all directories.
    pub(crate) block: u64,
}

impl Placed<'_> {
    /// Number of the inode.
    pub(crate) fn nid(&self) -> u64 {
        self.at / SLOT
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.entry.kind, Kind::Directory { .. })
    }
}

/// Goes through a source from the root on and says where each inode lies.
#[derive(Debug)]
pub(crate) struct Cursor<'a, S> {
    source: &'a S,
    next: u32,
    /// The first entry that no directory so far holds.
    unclaimed: u32,
    at: u64,
    blocks: u64,
}

impl<'a, S: Source> Cursor<'a, S> {
    pub(crate) fn new(source: &'a S) -> Self {
        Self { source, next: 0, unclaimed: 1, at: ROOT_AT as u64, blocks: 0 }
    }

    /// Bytes of the inode area up to here.
    pub(crate) fn end(&self) -> u64 {
        self.at
    }

    /// Blocks of directories up to here.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The next entry; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Placed<'a>>, WriteError> {
        let (index, given) = (self.next, self.source.len());
        if index == given {
            return if self.unclaimed == given { Ok(None) } else { Err(self.wrong_count(u64::from(self.unclaimed))) };
        }
        if index >= self.unclaimed {
            return Err(self.wrong_count(u64::from(self.unclaimed)));
        }
        let entry = self.source.entry(index).ok_or(WriteError::Missing { index })?;
        let (children, packing, len) = match entry.kind {
            Kind::Directory { children } => {
                let end = self.unclaimed.checked_add(children).filter(|end| *end <= given);
                let children = self.unclaimed..end.ok_or(self.wrong_count(u64::from(self.unclaimed) + u64::from(children)))?;
                let packing = pack(self.source, children.clone())?;
                (children, packing, INODE_LEN + packing.inline_len())
            }
            Kind::File { size } => (0..0, Packing::default(), file_len(index, size)?),
        };
        let at = place(self.at, len as u64);
        let placed = Placed { index, entry, at, children, packing, block: self.blocks };
        self.next += 1;
        self.unclaimed = self.unclaimed.max(placed.children.end);
        self.at = (at + len as u64).next_multiple_of(SLOT);
        self.blocks += u64::from(placed.packing.blocks());
        Ok(Some(placed))
    }

    fn wrong_count(&self, counted: u64) -> WriteError {
        WriteError::Count { counted, given: self.source.len() }
    }
}

/// Where an inode of `len` bytes lies that may begin at `at`: there, or in the next block where it would cross into that. Only one
/// that is longer than a block, of a file of petabytes, does.
fn place(at: u64, len: u64) -> u64 {
    let left = BLOCK as u64 - at % BLOCK as u64;
    if len > left { at + left } else { at }
}

fn file_len(index: u32, size: u64) -> Result<usize, WriteError> {
    if size > MAX_SIZE {
        return Err(WriteError::Size { index, size });
    }
    // An empty file has no bytes to look for elsewhere.
    Ok(if size == 0 { INODE_LEN } else { INODE_LEN + XATTR_LEN + holes_len(size) })
}

/// Counts the blocks that the names of `children` take, and looks at each of them.
fn pack<S: Source>(source: &S, children: Range<u32>) -> Result<Packing, WriteError> {
    let (mut packing, mut dots) = (Packing::default(), Dots::default());
    let mut before: &[u8] = b"";
    for index in children {
        let name = source.entry(index).ok_or(WriteError::Missing { index })?.name;
        check(name, before).map_err(|problem| WriteError::Name { index, problem })?;
        while let Some(dot) = dots.before(Some(name)) {
            packing.add(dot);
        }
        packing.add(name);
        before = name;
    }
    while let Some(dot) = dots.before(None) {
        packing.add(dot);
    }
    Ok(packing)
}

fn check(name: &[u8], before: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 255 {
        return Err("is empty or longer than 255 bytes");
    }
    if name.contains(&b'/') || name.contains(&0) || name == b"." || name == b".." {
        return Err("no directory can hold");
    }
    if name <= before { Err("does not come behind the one before") } else { Ok(()) }
}
