//! The mount itself, by the system calls that need neither a loop device nor a place for the layers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FsWord, Mode, OFlags, StatxAttributes, StatxFlags, fstatfs, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, move_mount, unmount,
};

use crate::OverlayError;

/// `MOVE_MOUNT_BENEATH` of <linux/mount.h>, since Linux 6.5.
const MOVE_MOUNT_BENEATH: u32 = 0x200;

/// `OVERLAYFS_SUPER_MAGIC` of <linux/magic.h>.
const OVERLAYFS: FsWord = 0x794c_7630;

/// What a composed mount is made of.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The image of the metadata.
    pub image: PathBuf,
    /// Directories in which objects are files `xx/<62 hex>`, asked in this order; at least one. A file that is in one of them is never
    /// written to nor cut short.
    pub data: Vec<PathBuf>,
    /// What `/proc/mounts` shows as the source.
    pub source: String,
}

/// A mount that is not attached anywhere yet; dropped, it is gone.
#[derive(Debug)]
pub struct Composed {
    mount: OwnedFd,
}

/// Mounts `layers`, read-only.
///
/// # Errors
/// [`OverlayError::Kernel`] when the kernel does not offer what it takes, or this process may not mount.
pub fn mount(layers: &Layers) -> Result<Composed, OverlayError> {
    let image = erofs(&layers.image)?;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| refused("overlayfs", e, None))?;
    let set = |key: &'static str, value: &Path| {
        fsconfig_set_string(&fs, key, value).map_err(|e| refused("a layer of overlayfs", e, Some(&fs)))
    };
    set("source", Path::new(&layers.source))?;
    set("metacopy", Path::new("on"))?;
    set("redirect_dir", Path::new("on"))?;
    set("lowerdir+", &path_of(&image))?;
    for directory in &layers.data {
        set("datadir+", directory)?;
    }
    fsconfig_set_flag(&fs, "ro").map_err(|e| refused("a read-only overlayfs", e, Some(&fs)))?;
    fsconfig_create(&fs).map_err(|e| refused("overlayfs with data-only layers", e, Some(&fs)))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|e| refused("the mount", e, Some(&fs)))?;
    Ok(Composed { mount })
}

/// Mounts an image from its file, attached nowhere: overlayfs keeps it by itself.
fn erofs(image: &Path) -> Result<OwnedFd, OverlayError> {
    let fs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| refused("EROFS", e, None))?;
    fsconfig_set_string(&fs, "source", image)
        .and_then(|()| fsconfig_set_flag(&fs, "ro"))
        .and_then(|()| fsconfig_create(&fs))
        .and_then(|()| fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY))
        .map_err(|e| refused("an EROFS image in a file", e, Some(&fs)))
}

impl Composed {
    /// Attaches it at `at`, over what is there.
    ///
    /// # Errors
    /// [`OverlayError::Attach`].
    pub fn attach(&self, at: &Path) -> Result<(), OverlayError> {
        move_mount(self.mount.as_fd(), "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|e| OverlayError::Attach { doing: "mount at", at: at.to_owned(), source: e.into() })
    }

    /// Takes the place of the mount at `at`, which goes out of sight: whoever uses it goes on with it. At every moment one of the two is
    /// there.
    ///
    /// # Errors
    /// [`OverlayError::Attach`]; the former mount is there then.
    pub fn replace(&self, at: &Path) -> Result<(), OverlayError> {
        let failed =
            |e: rustix::io::Errno| OverlayError::Attach { doing: "replace the mount at", at: at.to_owned(), source: e.into() };
        let beneath = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::from_bits_retain(MOVE_MOUNT_BENEATH);
        move_mount(self.mount.as_fd(), "", rustix::fs::CWD, at, beneath).map_err(failed)?;
        unmount(at, UnmountFlags::DETACH).map_err(failed)
    }

    /// Makes the kernel forget every inode that nobody uses: files that went into a directory since they were first opened
    /// are read from there, and space that only a forgotten inode held is free. Open files go on.
    ///
    /// # Errors
    /// When the kernel refuses; nothing changed then.
    pub fn forget(&self) -> io::Result<()> {
        let fs = fspick(&self.mount, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
        reconfigure(&fs)
    }

    /// A path to its root, for this process, attached or not.
    pub fn path(&self) -> PathBuf {
        path_of(&self.mount)
    }
}

/// [`Composed::forget`] for the composed mount that is seen at `at`.
///
/// # Errors
/// When there is none, or the kernel refuses; nothing changed then.
pub fn forget_at(at: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(at, flags, Mode::empty())?;
    // Where the mount is gone this is a directory of another file system, which would become read-only.
    let is_root =
        statx(&root, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    if !is_root || fstatfs(&root)?.f_type != OVERLAYFS {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no composed mount is at {}", at.display())));
    }
    reconfigure(&fspick(&root, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?)
}

fn reconfigure(fs: &OwnedFd) -> io::Result<()> {
    fsconfig_set_flag(fs, "ro")?;
    Ok(fsconfig_reconfigure(fs)?)
}

/// A path to what is open, for this process, whether or not it has another.
pub fn path_of(descriptor: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()).into()
}

/// The error, with what the kernel says about it on the file system's descriptor.
fn refused(what: &'static str, error: rustix::io::Errno, fs: Option<&OwnedFd>) -> OverlayError {
    let mut said = String::new();
    if let Some(fs) = fs {
        let mut line = [0; 1024];
        while let Ok(len @ 1..) = rustix::io::read(fs, &mut line) {
            if !said.is_empty() {
                said.push_str("; ");
            }
            said.push_str(String::from_utf8_lossy(&line[..len]).trim_end());
        }
    }
    OverlayError::Kernel { what, source: error.into(), said }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    #[test]
    fn no_other_file_system_is_reconfigured() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        for at in [dir.path(), Path::new("/proc"), &link, &dir.path().join("missing")] {
            forget_at(at).unwrap_err();
        }
        std::fs::write(dir.path().join("file"), "written").unwrap();
    }
}
