//! Directories of another mount namespace as layers: a layer must be of the mounter's own namespace, or attached nowhere.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::thread;

use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Mounts each of `directories`, which are open in the mount namespace `namespace`, attached nowhere: they serve as layers from then on,
/// and go with their descriptors. Nothing is looked up by path in the other namespace. Blocks for a moment.
///
/// # Errors
/// When this process may not enter the namespace (it takes CAP_SYS_ADMIN and CAP_SYS_CHROOT), or a directory is not of it.
pub fn borrow(namespace: BorrowedFd<'_>, directories: &[OwnedFd]) -> io::Result<Vec<OwnedFd>> {
    let clone = |directory: &OwnedFd| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(open_tree(directory.as_fd(), "", flags)?)
    };
    // The namespace is the thread's that enters it, and ends with the thread.
    thread::scope(|scope| {
        let entered = thread::Builder::new().name("layers".into()).spawn_scoped(scope, || {
            // SAFETY: root and working directory become this thread's own. It looks nothing up by path, and no descriptor becomes invalid.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?;
            directories.iter().map(clone).collect()
        })?;
        entered.join().unwrap_or_else(|_| Err(io::Error::other("the thread that enters the namespace died")))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use std::fs::{self, File};
    use std::os::fd::AsRawFd as _;
    use std::sync::mpsc;

    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

    use super::*;

    #[test]
    fn what_only_another_namespace_has_mounted_can_be_a_layer() {
        assert!(rustix::process::geteuid().is_root(), "this test mounts, which needs root");
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_owned();
        let ((say, hear), (end, until)) = (mpsc::channel(), mpsc::channel::<()>());
        let other = thread::spawn(move || {
            // SAFETY: as above; of mounts nothing that this process relies on changes.
            unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }.unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount("x", &at, "tmpfs", MountFlags::empty(), None).unwrap();
            fs::write(at.join("file"), "theirs").unwrap();
            say.send((File::open("/proc/thread-self/ns/mnt").unwrap(), File::open(&at).unwrap())).unwrap();
            let _ = until.recv();
        });
        let (namespace, layer) = hear.recv().unwrap();
        assert!(!dir.path().join("file").exists(), "it is not seen here");
        let layers = borrow(namespace.as_fd(), &[OwnedFd::from(layer)]).unwrap();
        // Also when the other namespace is gone.
        drop((end, namespace));
        other.join().unwrap();
        let inside = format!("/proc/self/fd/{}/file", layers[0].as_raw_fd());
        assert_eq!(fs::read_to_string(inside).unwrap(), "theirs");
        let foreign = File::open(dir.path()).unwrap();
        let not_one = File::open("/proc/self/ns/net").unwrap();
        assert!(borrow(not_one.as_fd(), &[foreign.into()]).is_err());
    }
}
