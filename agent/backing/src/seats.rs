//! Which servers of a mount live: each holds the lock of one byte of the table's file, which the kernel takes from it when its last
//! thread has ended.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Servers that one mount can have at a time; it has one, or two while one follows the other.
const SEATS: u32 = 64;

/// A server's place. Numbered from 1, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Seat {
    file: Option<File>,
    pub(crate) number: u32,
}

impl Seat {
    /// The only one of a table that nobody else sees.
    pub(crate) fn only() -> Self {
        Self { file: None, number: 1 }
    }

    /// The first that is free. `file` must be an opening of its own.
    pub(crate) fn take(file: File) -> io::Result<Self> {
        for number in 1..=SEATS {
            match lock(&file, libc::F_OFD_SETLK, number) {
                Ok(_) => return Ok(Self { file: Some(file), number }),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many servers have the mount at a time"))
    }

    /// Whether the server with this number is there, be it this one. Taken for alive where it cannot be told.
    pub(crate) fn is_taken(&self, number: u32) -> bool {
        let Some(file) = self.file.as_ref().filter(|_| number != self.number) else { return number == self.number };
        lock(file, libc::F_OFD_GETLK, number).map_or(true, |found| i32::from(found) != libc::F_UNLCK)
    }
}

/// Takes the lock of a byte, or asks who has it.
fn lock(file: &File, command: libc::c_int, number: u32) -> io::Result<libc::c_short> {
    #[expect(clippy::cast_possible_truncation, reason = "small constants")]
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number.into(),
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open for the length of the call, and these commands read and write a `struct flock`, which this is.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn a_seat_is_free_when_its_server_has_gone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let take = || Seat::take(file.reopen().unwrap()).unwrap();
        let (first, second) = (take(), take());
        assert_eq!((first.number, second.number), (1, 2));
        assert!(second.is_taken(1) && second.is_taken(2) && first.is_taken(2) && !first.is_taken(3));
        drop(first);
        assert!(!second.is_taken(1));
        assert_eq!(take().number, 1);
        assert!(Seat::only().is_taken(1));
    }
}
