//! The system calls: what is mounted and unmounted, and never a file touched. All of it blocks.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use forebay_api::DatasetName;
use forebay_mountinfo::Mounts;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// The type and the beginning of the source by which every mount of a Dataset is known.
const FS_TYPE: &str = "fuse.forebay";
const SOURCE_PREFIX: &str = "forebay:";

/// The largest read that the kernel sends as one request; the agent's block.
const MAX_READ: u32 = 1 << 20;

/// The label of what all containers may read.
const CONTAINERS_MAY_READ: &str = "system_u:object_r:container_file_t:s0";

/// Mounts that may lie on top of each other at one place.
const LAYERS: usize = 64;

/// Mounts a FUSE file system that nobody serves yet at `at`, an existing directory. Answers its descriptor and its number.
pub(crate) fn mount_fuse(at: &Path, dataset: &DatasetName) -> io::Result<(OwnedFd, String)> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read={MAX_READ}",
        device.as_raw_fd()
    );
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
    let source = source(dataset);
    let mount = |data: String| -> io::Result<()> {
        let data = CString::new(data)?;
        Ok(rustix::mount::mount(&*source, at, FS_TYPE, flags, Some(data.as_c_str()))?)
    };
    // With SELinux every container may read it, as every pod with a grant may: a pod's own label would shut the next one out.
    if !has_labels() || mount(format!("{data},context=\"{CONTAINERS_MAY_READ}\"")).is_err() {
        // Not with a policy that does not know the label, either.
        mount(data)?;
    }
    match Mounts::read()?.visible(at) {
        Some(mount) if mount.fs_type == FS_TYPE => Ok((device, mount.device.clone())),
        _ => Err(io::Error::other(format!("what was mounted at {} is not there", at.display()))),
    }
}

/// Whether what is seen at `at` was mounted by [`mount_fuse`] for `dataset`, or bound from it; answers its number.
pub(crate) fn is_dataset(mounts: &Mounts, at: &Path, dataset: &DatasetName) -> Option<String> {
    let mount = mounts.visible(at)?;
    let source = mount.source.strip_prefix(SOURCE_PREFIX)?;
    (mount.fs_type == FS_TYPE && source == dataset.to_string()).then(|| mount.device.clone())
}

/// Whether what is seen at `at` is a composed mount of `dataset`, or bound from one; answers its number.
pub(crate) fn is_composed(mounts: &Mounts, at: &Path, dataset: &DatasetName) -> Option<String> {
    let mount = mounts.visible(at)?;
    let source = mount.source.strip_prefix(SOURCE_PREFIX)?;
    (mount.fs_type == "overlay" && source == dataset.to_string()).then(|| mount.device.clone())
}

/// What the list of mounts names as the source of each mount of `dataset`.
pub(crate) fn source(dataset: &DatasetName) -> String {
    format!("{SOURCE_PREFIX}{dataset}")
}

/// Whether every file here has a label of SELinux.
pub(crate) fn has_labels() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Whether what is seen at `at` is a Dataset's mount, of whatever Dataset.
pub(crate) fn is_ours(mounts: &Mounts, at: &Path) -> bool {
    mounts.visible(at).is_some_and(|mount| mount.source.starts_with(SOURCE_PREFIX))
}

/// Shows at `to` what is mounted at `from`, read-only and with `extra` restrictions.
pub(crate) fn bind(from: &Path, to: &Path, extra: MountFlags) -> io::Result<()> {
    rustix::mount::mount_bind(from, to)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME | extra;
    rustix::mount::mount_remount(to, flags, "").map_err(|error| {
        // Never a mount with less restrictions than were asked for.
        let _ = rustix::mount::unmount(to, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        error.into()
    })
}

/// Takes away every mount of ours at `at`; what is in use goes out of sight. Nothing being there is fine, and what others mounted
/// there is an error.
pub(crate) fn unmount_all(at: &Path) -> io::Result<()> {
    for _ in 0..LAYERS {
        match Mounts::read()?.visible(at) {
            None => return Ok(()),
            Some(mount) if mount.source.starts_with(SOURCE_PREFIX) => unmount(at)?,
            Some(other) => {
                let (at, fs_type) = (at.display(), &other.fs_type);
                return Err(io::Error::other(format!(
                    "{at} is a mount point of type {fs_type} that is not Forebay's: unmount it"
                )));
            }
        }
    }
    Err(io::Error::other(format!("more than {LAYERS} mounts lie at {}", at.display())))
}

/// Unmounts what is seen at `at`, lazily if it is in use.
fn unmount(at: &Path) -> io::Result<()> {
    match rustix::mount::unmount(at, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => Ok(rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?),
        // Somebody else was faster.
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes the directory that was a mount point, if it is empty. Not being there is fine.
pub(crate) fn remove_dir(at: &Path) -> io::Result<()> {
    match fs::remove_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Sets how far the kernel reads ahead in mounts numbered `number`; the handshake caps it at 128 KiB.
pub(crate) fn set_read_ahead(number: &str, kib: u32) -> io::Result<()> {
    fs::write(format!("/sys/class/bdi/{number}/read_ahead_kb"), kib.to_string())
}

/// Mounts a tmpfs of `bytes` at `at`, or gives the one that is there that size.
pub(crate) fn tmpfs(at: &Path, bytes: u64) -> io::Result<()> {
    fs::create_dir_all(at)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
    // Of files as many as fit: the default is half as many as the node has pages.
    let data = CString::new(format!("size={bytes},mode=0700,nr_inodes=0"))?;
    match Mounts::read()?.visible(at) {
        Some(mount) if mount.fs_type == "tmpfs" => {
            let data = format!("size={bytes}");
            Ok(rustix::mount::mount_remount(at, flags, data)?)
        }
        Some(other) => Err(io::Error::other(format!("{} is a mount point of type {}", at.display(), other.fs_type))),
        None => Ok(rustix::mount::mount("forebay-memory", at, "tmpfs", flags, Some(data.as_c_str()))?),
    }
}

/// Unmounts the tmpfs at `at` and removes its directory. None there is fine.
pub(crate) fn drop_tmpfs(at: &Path) -> io::Result<()> {
    if Mounts::read()?.visible(at).is_some_and(|mount| mount.fs_type == "tmpfs") {
        unmount(at)?;
    }
    remove_dir(at)
}
