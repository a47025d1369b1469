//! The system calls: everything is opened below the root, and nothing is opened before it is known to be a plain file.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Shared;
use super::error::kind;
use crate::{StoreError, StoreErrorKind, StoreResult};

/// Tries of a lookup that the kernel calls off because something was renamed meanwhile.
const RENAME_TRIES: u32 = 16;

/// Opens the root, without looking at what is in it.
pub(super) fn root(shared: &Shared, operation: &'static str, key: &str) -> StoreResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::openat(CWD, &shared.config.root, flags, Mode::empty()).map_err(|errno| {
        let kind = match kind(errno) {
            StoreErrorKind::NotFound => StoreErrorKind::NoSuchContainer,
            kind => kind,
        };
        shared.error(operation, key, kind).with_cause(format!("{}: {errno}", shared.config.root.display()))
    })
}

/// Opens a path below the root, links followed but never out of it. `path` may be empty for the root itself.
pub(super) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RENAME_TRIES {
        match fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => continue,
            opened => return opened,
        }
    }
    Err(Errno::IO)
}

/// What a path below the root is; nothing is opened for it.
pub(super) fn stat(root: BorrowedFd<'_>, path: &str) -> Result<Stat, Errno> {
    fs::fstat(open(root, path, OFlags::PATH)?)
}

/// Opens a file for reading that is known to be a plain one: found first (`O_PATH`), then opened through that very find.
/// `Ok(None)` for a fifo, socket or device; a directory is no object, so it is not there (`NOENT`).
pub(super) fn file(root: BorrowedFd<'_>, path: &str) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let found = open(root, path, OFlags::PATH)?;
    let stat = fs::fstat(&found)?;
    match file_type(&stat) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::NOENT),
        _ => return Ok(None),
    }
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    let opened = fs::openat(CWD, again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Some((opened, stat)))
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Modification time in nanoseconds since the epoch.
pub(super) fn mtime_ns(stat: &Stat) -> i64 {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}

/// Identity of a directory.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Whether the root is what the mount means, and not the empty directory below a file server that is not mounted.
pub(super) fn check_mounted(shared: &Shared, root: BorrowedFd<'_>, operation: &'static str, key: &str) -> StoreResult<()> {
    let missing = |cause: String| Err(shared.error(operation, key, StoreErrorKind::NoSuchContainer).with_cause(cause));
    let shown = shared.config.root.display();
    if let Some(marker) = &shared.config.marker {
        return match stat(root, marker) {
            Ok(_) => Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                missing(format!("the marker {marker} is not in {shown}: the file server is not mounted there"))
            }
            Err(errno) => Err(failed(shared, operation, key, errno)),
        };
    }
    if shared.config.allow_empty {
        return Ok(());
    }
    let directory = open(root, "", OFlags::RDONLY | OFlags::DIRECTORY);
    let mut entries = match directory.and_then(|directory| fs::Dir::read_from(&directory)) {
        Ok(entries) => entries,
        Err(errno) => return Err(failed(shared, operation, key, errno)),
    };
    let holds_something = entries.any(|entry| entry.is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")));
    if holds_something {
        return Ok(());
    }
    missing(format!("{shown} is empty, as if its file server were not mounted: mount it, or set the option allowEmpty"))
}

/// The store's error of a failed system call.
pub(super) fn failed(shared: &Shared, operation: &'static str, key: &str, errno: Errno) -> StoreError {
    shared.error(operation, key, kind(errno)).with_cause(errno)
}
