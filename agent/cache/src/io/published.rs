//! Complete files, once more under `native/<boot>/`: a directory in which overlayfs finds them by name and reads them with no process of
//! ours alive. Each is a second link to the cached file, so it takes no space, and the link is the durable mark that the file may be
//! known to readers nobody can name: such a file is never changed, only unlinked whole.
//!
//! A new boot begins with an empty directory: what a power failure left of a file has to be verified before it is published anew.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: &str = "native";

/// `native/<boot>`; `None` where the kernel does not say which boot this is.
pub(super) fn directory() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = boot.trim();
    (!boot.is_empty() && !boot.contains('/')).then(|| format!("{DIRECTORY}/{boot}"))
}

/// Whether this boot or another published anything.
pub(super) fn any(dir: BorrowedFd<'_>) -> bool {
    fs::accessat(dir, DIRECTORY, fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

/// The second name of `objects/...`.
fn second(directory: &str, path: &str) -> Option<String> {
    Some(format!("{directory}/{}", path.strip_prefix("objects/")?))
}

/// Makes the directory, with all that lies between it and the files: overlayfs remembers a directory that was not there.
pub(super) fn prepare(dir: BorrowedFd<'_>, directory: &str) -> io::Result<()> {
    make(dir, DIRECTORY)?;
    make(dir, directory)?;
    (0..=u8::MAX).try_for_each(|byte| make(dir, &format!("{directory}/{byte:02x}")))
}

fn make(dir: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    match fs::mkdirat(dir, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Gives `path` its second name; one that has it is fine.
pub(super) fn publish(dir: BorrowedFd<'_>, directory: &str, path: &str) -> io::Result<()> {
    let second = second(directory, path).ok_or(Errno::INVAL)?;
    match fs::linkat(dir, path, dir, &second, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if is_same(dir, path, &second)? => Ok(()),
        Err(Errno::EXIST) => {
            // A former incarnation of the same object.
            fs::unlinkat(dir, &second, AtFlags::empty())?;
            Ok(fs::linkat(dir, path, dir, &second, AtFlags::empty())?)
        }
        Err(e) => Err(e.into()),
    }
}

fn is_same(dir: BorrowedFd<'_>, one: &str, other: &str) -> io::Result<bool> {
    let stat = |path| fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW);
    let (one, other) = (stat(one)?, stat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Whether `path` has its second name in this boot's directory.
pub(super) fn is_published(dir: BorrowedFd<'_>, directory: &str, path: &str) -> io::Result<bool> {
    let Some(second) = second(directory, path) else { return Ok(false) };
    match is_same(dir, path, &second) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// Whether `path` has a second name, of this boot or another.
pub(super) fn is_linked(dir: BorrowedFd<'_>, path: &str) -> io::Result<bool> {
    match fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(stat.st_nlink > 1),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Takes the second name of `path` away.
pub(super) fn conceal(dir: BorrowedFd<'_>, directory: &str, path: &str) -> io::Result<()> {
    let Some(second) = second(directory, path) else { return Ok(()) };
    match fs::unlinkat(dir, &second, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Removes what other boots published.
pub(super) fn remove_others(dir: BorrowedFd<'_>, root: &Path, directory: &str) -> io::Result<()> {
    let published = match fs::openat(dir, DIRECTORY, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(published) => published,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for entry in fs::Dir::read_from(published)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." && !directory.ends_with(&name) {
            std::fs::remove_dir_all(root.join(DIRECTORY).join(name))?;
        }
    }
    Ok(())
}
