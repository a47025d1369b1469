//! Gets and closes backing ids.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// Who may tell the kernel which files it reads by itself.
pub(crate) trait Registrar: Debug + Send + Sync {
    /// Gives `file` a backing id on the mount. The kernel has a reference of its own then.
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32>;

    /// Closes an id. Who has the file open by it goes on.
    fn close(&self, id: u32) -> io::Result<()>;
}

/// Does it through the mount's own descriptor. Needs CAP_SYS_ADMIN outside of any user namespace.
#[derive(Debug)]
pub(crate) struct Direct(pub(crate) OwnedFd);

impl Registrar for Direct {
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        let map = BackingMap { fd: file.as_raw_fd().cast_unsigned(), flags: 0, padding: 0 };
        // SAFETY: FUSE_DEV_IOC_BACKING_OPEN reads a `struct fuse_backing_map`, which `BackingMap` is, and writes nothing.
        Ok(unsafe { rustix::ioctl::ioctl(&self.0, Write::<BackingMap, 1>(map)) }?)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        // SAFETY: FUSE_DEV_IOC_BACKING_CLOSE reads a `uint32_t` and writes nothing.
        unsafe { rustix::ioctl::ioctl(&self.0, Write::<u32, 2>(id)) }?;
        Ok(())
    }
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
