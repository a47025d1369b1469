use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// Gives `file` a backing id on the mount behind `device`. The kernel has a reference of its own then. `file` must be a regular file that
/// is open for reading: who reads by the id reads with the rights of the caller of this, whatever `file` was opened for.
///
/// # Errors
/// `PERM` without CAP_SYS_ADMIN outside of any user namespace, `LOOP` for files on a stacked file system, `INVAL` for those that are no
/// regular file open for reading and those of file systems that cannot do it.
pub fn register(device: impl AsFd, file: BorrowedFd<'_>) -> io::Result<u32> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    let regular = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode).is_file();
    if !regular || flags.intersects(OFlags::PATH | OFlags::WRONLY) {
        return Err(Errno::INVAL.into());
    }
    let map = BackingMap { fd: file.as_raw_fd().cast_unsigned(), flags: 0, padding: 0 };
    // SAFETY: FUSE_DEV_IOC_BACKING_OPEN reads a `struct fuse_backing_map`, which `BackingMap` is, and writes nothing.
    Ok(unsafe { rustix::ioctl::ioctl(device, Write::<BackingMap, 1>(map)) }?)
}

/// Closes an id. Who has the file open by it goes on.
///
/// # Errors
/// `NOENT` for an id that there is not, `PERM` as for [`register`].
pub fn close(device: impl AsFd, id: u32) -> io::Result<()> {
    // SAFETY: FUSE_DEV_IOC_BACKING_CLOSE reads a `uint32_t` and writes nothing.
    unsafe { rustix::ioctl::ioctl(device, Write::<u32, 2>(id)) }?;
    Ok(())
}

/// `struct fuse_backing_map` of <linux/fuse.h>.
#[repr(C)]
struct BackingMap {
    fd: u32,
    flags: u32,
    padding: u64,
}

/// `FUSE_DEV_IOC_MAGIC` of <linux/fuse.h>.
const MAGIC: u8 = 229;

/// Command `N` of a FUSE device, which takes a `T` and answers with a number.
struct Write<T, const N: u8>(T);

// SAFETY: the opcode is that of a command which reads a `T`, the pointer is to a `T` that lives for the call, and the answer is
// the call's return value alone.
unsafe impl<T, const N: u8> Ioctl for Write<T, N> {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<T>(MAGIC, N)
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut std::ffi::c_void) -> rustix::io::Result<u32> {
        Ok(out.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use std::fs::File;

    use rustix::fs::Mode;

    use super::*;

    /// The caller of this may read what the one who sent the descriptor may not.
    #[test]
    fn what_its_sender_could_not_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        File::create(&path).unwrap();
        let device = File::open("/dev/null").unwrap();
        let open = |flags| rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        for (file, errno) in [
            (open(OFlags::PATH), Errno::INVAL),
            (open(OFlags::WRONLY), Errno::INVAL),
            (File::open(dir.path()).unwrap().into(), Errno::INVAL),
            // It gets as far as the device, which is none.
            (open(OFlags::RDONLY), Errno::NOTTY),
        ] {
            let error = register(&device, file.as_fd()).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(errno), "{file:?}");
        }
    }
}
