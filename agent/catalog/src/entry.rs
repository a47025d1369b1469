use std::borrow::Cow;
use std::ops::Range;

use crate::ino::ROOT_INO;
use crate::layout::{Record, RecordKind};
use crate::mounts::below;
use crate::{Catalog, NO_MOUNT, token};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
}

/// A file or directory of a [`Catalog`]; a view that costs nothing to copy.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    catalog: &'a Catalog,
    index: u32,
    record: Record,
    name: &'a str,
    /// The entry's bytes in the heap behind its name: key and token.
    rest: &'a [u8],
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("path", &self.path()).field("record", &self.record).finish_non_exhaustive()
    }
}

/// Equal are views of one entry of one opened file.
impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.catalog.is_same(other.catalog)
    }
}

impl<'a> Entry<'a> {
    /// Checks what the record says of the rest of the file, so that nothing below can fail.
    pub(crate) fn new(catalog: &'a Catalog, index: u32, record: Record) -> Option<Self> {
        let start = usize::try_from(record.heap).ok()?;
        let end = usize::try_from(record.heap.checked_add(record.heap_len())?).ok()?;
        let (name, rest) = catalog.heap().get(start..end)?.split_at_checked(usize::from(record.name_len))?;
        let name = std::str::from_utf8(name).ok()?;
        if let RecordKind::Directory { first, count, .. } = record.kind {
            let inside = first.checked_add(count).is_some_and(|end| end <= catalog.len());
            if !inside || count > 0 && first <= index {
                return None;
            }
        }
        if record.parent >= index && index != 0 {
            return None;
        }
        Some(Self { catalog, index, record, name, rest })
    }

    /// An empty root for a file whose first record is damaged, so that callers need not ask whether there is one.
    pub(crate) fn placeholder_root(catalog: &'a Catalog) -> Self {
        let kind = RecordKind::Directory { first: 0, count: 0, subdirectories: 0 };
        let record = Record { ino: ROOT_INO, mtime_ns: 0, heap: 0, parent: 0, mount: NO_MOUNT, name_len: 0, kind };
        Self { catalog, index: 0, record, name: "", rest: &[] }
    }

    /// Position in this generation; not the same in another.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Inode number, the same in every generation and on every node; the root's is 1.
    pub fn ino(&self) -> u64 {
        self.record.ino
    }

    /// Index of the directory that holds it; the root's own is 0.
    pub fn parent(&self) -> u32 {
        self.record.parent
    }

    /// Last part of the path; empty for the root.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// File or directory.
    pub fn kind(&self) -> Kind {
        match self.record.kind {
            RecordKind::Directory { .. } => Kind::Dir,
            RecordKind::File { .. } => Kind::File,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == Kind::Dir
    }

    /// Length in bytes; 0 for a directory.
    pub fn size(&self) -> u64 {
        match self.record.kind {
            RecordKind::Directory { .. } => 0,
            RecordKind::File { size, .. } => size,
        }
    }

    /// Last modification, nanoseconds since the epoch. Of a file as the store listed it, 0 where it gives none. Of a
    /// directory the newest of its markers and everything below, or the time of the listing where nothing has one.
    pub fn mtime_ns(&self) -> i64 {
        self.record.mtime_ns
    }

    /// Number of the mount that owns the path: a position in [`crate::Info::mounts`]. [`NO_MOUNT`] for a directory
    /// above all mounts.
    pub fn mount(&self) -> u16 {
        self.record.mount
    }

    /// The object's key relative to the mount's root; of a directory the path below the mount.
    pub fn key(&self) -> Cow<'a, str> {
        if let RecordKind::File { has_key: true, key_len, .. } = self.record.kind {
            return String::from_utf8_lossy(self.rest.get(..usize::from(key_len)).unwrap_or_default());
        }
        let path = self.path();
        let mount = self.catalog.info().mounts.get(usize::from(self.record.mount));
        Cow::Owned(below(mount.map_or("", |m| m.root()), path.trim_start_matches('/')).to_owned())
    }

    /// The version token as the store gave it; empty for a directory.
    pub fn version(&self) -> Cow<'a, str> {
        match self.record.kind {
            RecordKind::Directory { .. } => Cow::Borrowed(""),
            RecordKind::File { key_len, token_kind, .. } => {
                let bytes = self.rest.get(usize::from(key_len)..).unwrap_or_default();
                token::decode(token_kind, bytes, self.record.mtime_ns)
            }
        }
    }

    /// Directories directly below; a directory's link count is this and two. 0 for a file.
    pub fn subdirectories(&self) -> u32 {
        match self.record.kind {
            RecordKind::Directory { subdirectories, .. } => subdirectories,
            RecordKind::File { .. } => 0,
        }
    }

    /// Entries directly below; 0 for a file.
    pub fn child_count(&self) -> u32 {
        self.child_range().len().try_into().unwrap_or(u32::MAX)
    }

    /// Absolute path in the dataset, `/a/b`; the root's is `/`.
    pub fn path(&self) -> String {
        let mut names = Vec::new();
        let mut at = *self;
        // Each parent's index is smaller, so this ends; the root has no name.
        while at.index != 0 {
            names.push(at.name);
            let Some(parent) = self.catalog.entry(at.record.parent) else { break };
            at = parent;
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Indexes of the entries directly below; none for a file.
    pub fn child_range(&self) -> Range<u32> {
        match self.record.kind {
            RecordKind::Directory { first, count, .. } => first..first.saturating_add(count),
            RecordKind::File { .. } => 0..0,
        }
    }
}
