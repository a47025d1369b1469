//! What the tree knows of one file or directory.

/// The inode number of a Dataset's root directory. No other node has it; 0 is no node's number.
pub const ROOT_INO: u64 = 1;

/// What a node is. A Dataset holds nothing else: stores have no symlinks, devices or sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A directory: a prefix of object keys, or a mount's path.
    Dir,
    /// A regular file: one object.
    File,
}

/// One file or directory of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Inode number; see [`Tree`](crate::Tree) for what it must identify.
    pub ino: u64,
    /// File or directory.
    pub kind: NodeKind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Time of last modification as the store tells it, in nanoseconds since 1970; may be negative.
    pub mtime_ns: i64,
    /// Directories directly inside, for the link count; 0 for a file.
    pub subdirectories: u32,
}

impl Node {
    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == NodeKind::Dir
    }
}

/// One name in a directory, lent to the caller of [`Tree::read_dir`](crate::Tree::read_dir).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name: 1 to 255 bytes, without `/` and NUL, never `.` or `..`.
    pub name: &'a [u8],
    /// Where to go on after this entry: the `from` of the call that continues behind it. 1 to
    /// `i64::MAX - 2`: programs see it as a signed `telldir(3)` offset, with `.` and `..` before it.
    pub cookie: u64,
    /// What the name stands for.
    pub node: Node,
}
