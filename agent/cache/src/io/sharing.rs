//! Who else has a file open. The kernel grants a write lease only while nobody else does, in whatever process and through whatever
//! mapping: a lease that is asked for and given back at once is that question. It is the one thing that knows of mappings
//! that outlive their descriptor and of readers that a former process let in.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `F_SETSIG` of <linux/fcntl.h>.
const F_SETSIG: libc::c_int = 10;

/// Whether this opening, which must be for writing, is the only one of its file. An error says that it cannot be told.
pub(super) fn is_unshared(file: BorrowedFd<'_>) -> io::Result<bool> {
    // Who opens the file between the two calls below makes the kernel signal the holder of the lease: by SIGIO, which would
    // end the process, unless another signal is chosen. SIGURG is ignored by default.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    match fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) {
        Ok(()) => {
            fcntl(file, libc::F_SETLEASE, libc::F_UNLCK)?;
            Ok(true)
        }
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(e) => Err(e),
    }
}

fn fcntl(file: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the call, and these commands take a number and touch no memory of ours.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn readers_and_writers_are_seen_until_they_close() {
        for dir in [std::env::temp_dir(), "/dev/shm".into()] {
            let dir = tempfile::tempdir_in(dir).unwrap();
            let path = dir.path().join("f");
            let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
            let alone = || is_unshared(file.as_fd()).unwrap();
            assert!(alone());
            let same = file.try_clone().unwrap();
            assert!(alone(), "a duplicate is the same opening");
            drop(same);
            let reader = File::open(&path).unwrap();
            assert!(!alone());
            drop(reader);
            let writer = OpenOptions::new().write(true).open(&path).unwrap();
            assert!(!alone());
            drop(writer);
            std::fs::remove_file(&path).unwrap();
            assert!(alone());
        }
    }
}
