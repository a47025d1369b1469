//! Opens `/dev/fuse` and mounts it. Apart from serving, because who mounts need not be who serves: a process that keeps the
//! descriptor lets a mount outlive its server.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::mountinfo::{self, FS_TYPE, SOURCE_PREFIX};
use crate::options::MAX_READ;
use crate::{MountError, MountOptions, fusermount};

/// A mount that exists, and the descriptor at which the kernel's requests wait.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) fd: OwnedFd,
    pub(crate) place: Place,
}

/// Where a mount of ours stands, and how to tell it from another one there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The mount point, canonical.
    pub(crate) at: PathBuf,
    /// `major:minor`.
    pub(crate) number: String,
}

/// Mounts as `options` say, `mount(2)` first and `fusermount3` where that is not permitted.
pub(crate) fn open(options: &MountOptions) -> Result<Device, MountError> {
    let at = prepare(&options.at)?;
    let name: String = options.dataset.chars().map(|c| if c == ',' || c.is_control() { '_' } else { c }).collect();
    let source = format!("{SOURCE_PREFIX}{name}");
    let direct = if options.use_helper { Err(Errno::PERM) } else { mount(&at, &source, options.allow_other) };
    let fd = match direct {
        Ok(fd) => fd,
        Err(Errno::PERM | Errno::ACCESS) => fusermount::mount(&at, &source, options.allow_other)?,
        Err(error) => return Err(MountError::Mount { at, source: error.into() }),
    };
    let mounts = mountinfo::read()?;
    let number = mounts.visible(&at).map(|mount| mount.device.clone()).unwrap_or_default();
    Ok(Device { fd, place: Place { at, number } })
}

/// Makes the directory if it is missing, and refuses one that is in use.
fn prepare(at: &Path) -> Result<PathBuf, MountError> {
    let failed = |source| MountError::MountPoint { at: at.to_owned(), source };
    fs::create_dir_all(at).map_err(failed)?;
    let at = at.canonicalize().map_err(failed)?;
    if let Some(mount) = mountinfo::read()?.visible(&at) {
        return Err(MountError::Occupied { at, what: mountinfo::describe(mount) });
    }
    let mut inside = fs::read_dir(&at).map_err(failed)?;
    if inside.next().is_some() {
        return Err(MountError::NotEmpty { at });
    }
    Ok(at)
}

fn mount(at: &Path, source: &str, allow_other: bool) -> rustix::io::Result<OwnedFd> {
    let fd = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let others = if allow_other { ",allow_other" } else { "" };
    let data = format!(
        "fd={},rootmode=40000,user_id={user},group_id={group},default_permissions,max_read={MAX_READ}{others}",
        fd.as_raw_fd(),
    );
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
    rustix::mount::mount(source, at, FS_TYPE, flags, Some(data.as_c_str()))?;
    Ok(fd)
}

impl Place {
    /// Whether this mount is still there and on top. `Ok(false)` when it is gone.
    fn is_mounted(&self) -> Result<bool, MountError> {
        let mounts = mountinfo::read()?;
        match mounts.visible(&self.at) {
            Some(mount) if mount.device == self.number => Ok(true),
            Some(other) if mounts.iter().any(|mount| mount.device == self.number && mount.at == self.at) => {
                Err(MountError::Covered { at: self.at.clone(), what: mountinfo::describe(other) })
            }
            _ => Ok(false),
        }
    }

    /// Takes the mount down, or (`lazily`) out of sight at once, whoever still uses it. Not being mounted counts as done.
    /// `Ok(false)` means that it is in use.
    pub(crate) fn unmount(&self, lazily: bool) -> Result<bool, MountError> {
        if !self.is_mounted()? {
            return Ok(true);
        }
        unmount_top(&self.at, lazily)
    }

    /// Sets how far the kernel reads ahead; the handshake caps it at 128 KiB. Needs root.
    pub(crate) fn set_read_ahead(&self, kib: u32) -> io::Result<()> {
        fs::write(format!("/sys/class/bdi/{}/read_ahead_kb", self.number), kib.to_string())
    }
}

/// Unmounts what is visible at `at`; `Ok(false)` when it is in use.
pub(crate) fn unmount_top(at: &Path, lazily: bool) -> Result<bool, MountError> {
    let detach = if lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(at, detach | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(Errno::PERM) => fusermount::unmount(at, lazily),
        // Not a mount point: somebody else was faster.
        Err(Errno::INVAL) => Ok(true),
        Err(error) => Err(MountError::Unmount { at: at.to_owned(), source: error.into() }),
    }
}
