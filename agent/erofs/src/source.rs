//! What an image is written from.

/// A tree in breadth-first order: the root is entry 0, the children of entry `i` come before those of entry `i + 1`, and those
/// of one directory are adjacent and sorted by the bytes of their names. So a directory needs to say only how many it has.
///
/// The writer reads entries several times, mostly forwards; each answer about one index must be the same.
pub trait Source {
    /// Number of entries, the root included.
    fn len(&self) -> u32;

    /// Whether there is no root; such a source cannot be written.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry at `index`; `None` where the source is damaged, which ends the writing.
    fn entry(&self, index: u32) -> Option<Entry<'_>>;

    /// The name of the object that holds the bytes of the file at `index`. Asked once a file that is not empty.
    fn object(&self, index: u32) -> Option<[u8; 32]>;
}

/// A file or directory of a [`Source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Last part of its path: 1 to 255 bytes without `/` and NUL, not `.` or `..`. The root's is not looked at.
    pub name: &'a [u8],
    /// Last modification, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory {
        /// Entries directly inside.
        children: u32,
    },
    /// A regular file.
    File {
        /// Length in bytes, at most [`MAX_SIZE`](crate::MAX_SIZE).
        size: u64,
    },
}
