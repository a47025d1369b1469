//! From the file system's terms to `fuser`'s.

use std::time::{Duration, SystemTime};

use forebay_fs::{Attributes, BLOCK_SIZE, FsError, NodeKind};
use fuser::{Errno, FileAttr, FileType, Generation, INodeNo};

/// The same for every node: a number names one version for ever, so it is never used again for something else.
pub(crate) const GENERATION: Generation = Generation(0);

pub(crate) fn errno(error: &FsError) -> Errno {
    Errno::from_i32(error.errno())
}

pub(crate) fn kind(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Dir => FileType::Directory,
        NodeKind::File => FileType::RegularFile,
    }
}

pub(crate) fn attr(shown: &Attributes) -> FileAttr {
    let time = time(shown.mtime_ns);
    FileAttr {
        ino: INodeNo(shown.ino),
        size: shown.size,
        blocks: shown.blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(shown.kind),
        perm: shown.mode,
        nlink: shown.links,
        uid: shown.uid,
        gid: shown.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// What the kernel takes for "not there, and you may remember that": node id 0, the rest unread.
pub(crate) fn absent() -> FileAttr {
    let nothing = Attributes { ino: 0, kind: NodeKind::File, mode: 0, links: 0, uid: 0, gid: 0, size: 0, blocks: 0, mtime_ns: 0 };
    attr(&nothing)
}

fn time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
