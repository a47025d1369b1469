//! An image on disk, as EROFS's own tools and the kernel see it.

use std::ffi::OsString;
use std::io::BufWriter;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_erofs::{Options, Source, Written, object_path, write};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use tempfile::NamedTempFile;

use crate::tree::{BreadthFirst, Names, Node};

pub(crate) const OPTIONS: Options =
    Options { uid: 1_000, gid: 70_000, file_mode: 0o440, dir_mode: 0o751, total_bytes: 123 << 20, uuid: *b"forebay's images" };

pub(crate) struct Image {
    file: NamedTempFile,
    pub(crate) written: Written,
}

impl Image {
    pub(crate) fn of(root: &Node) -> Self {
        Self::from(&BreadthFirst::new(root))
    }

    pub(crate) fn from(source: &impl Source) -> Self {
        let file = NamedTempFile::new().unwrap();
        let written = write(source, &OPTIONS, &mut BufWriter::new(file.as_file())).unwrap();
        Self { file, written }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    /// `fsck.erofs` finds nothing wrong.
    pub(crate) fn check(&self) {
        let out =
            Command::new("fsck.erofs").arg("-d3").arg(self.path()).output().expect("fsck.erofs of erofs-utils is installed");
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() && said.contains("No errors found"), "{}: {said}", out.status);
    }

    pub(crate) fn mount(&self) -> Mounted {
        assert!(rustix::process::geteuid().is_root(), "these tests mount, which needs root");
        let fs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_set_string(&fs, "source", self.path()).unwrap();
        fsconfig_create(&fs).expect("the kernel takes the image");
        // Attached nowhere, so that nothing stays behind when a test fails.
        Mounted { fd: fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap() }
    }
}

/// A mount that lives as long as this.
pub(crate) struct Mounted {
    pub(crate) fd: OwnedFd,
}

impl Mounted {
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).into()
    }

    /// The mount shows `root` and nothing else.
    pub(crate) fn shows(&self, root: &Node) {
        let root_ino = compare(&self.path(), root);
        assert_eq!(root_ino, 1);
    }
}

/// Compares what is at `path` with `node`; its inode number.
fn compare(path: &Path, node: &Node) -> u64 {
    let stat = std::fs::symlink_metadata(path.join(".")).or_else(|_| std::fs::symlink_metadata(path)).unwrap();
    let mtime_ns = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
    assert_eq!(mtime_ns, i128::from(node.mtime_ns()), "{path:?}");
    assert_eq!((stat.uid(), stat.gid()), (OPTIONS.uid, OPTIONS.gid), "{path:?}");
    match node {
        Node::File { size, object, .. } => {
            assert_eq!((stat.mode(), stat.len(), stat.nlink()), (0o100_440, *size, 1), "{path:?}");
            assert_eq!(stat.blocks(), size.next_multiple_of(4096) / 512, "{path:?}");
            let attribute = |name: &str| {
                let mut value = [0; 256];
                rustix::fs::lgetxattr(path, name, &mut value).map(|len| value[..len].to_vec())
            };
            if *size > 0 {
                assert_eq!(attribute("trusted.overlay.metacopy"), Ok(vec![]), "{path:?}");
                assert_eq!(attribute("trusted.overlay.redirect"), Ok(object_path(object).to_vec()), "{path:?}");
            } else {
                assert_eq!(attribute("trusted.overlay.metacopy"), Err(rustix::io::Errno::NODATA), "{path:?}");
            }
        }
        Node::Dir { names, .. } => {
            let subdirectories = names.values().filter(|node| matches!(node, Node::Dir { .. })).count() as u64;
            assert_eq!((stat.mode(), stat.nlink()), (0o040_751, 2 + subdirectories), "{path:?}");
            compare_names(path, names, stat.ino());
        }
    }
    stat.ino()
}

fn compare_names(path: &Path, names: &Names, own: u64) {
    let mut listed = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_vec();
        let node = names.get(&name).unwrap_or_else(|| panic!("{:?} was never given", entry.path()));
        let kind = entry.file_type().unwrap();
        assert_eq!((kind.is_dir(), kind.is_file()), (matches!(node, Node::Dir { .. }), matches!(node, Node::File { .. })));
        assert!(!kind.is_block_device());
        let ino = compare(&path.join(OsString::from_vec(name.clone())), node);
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), ino);
        if kind.is_dir() {
            let up = std::fs::symlink_metadata(entry.path().join("..")).unwrap();
            assert_eq!(up.ino(), own, "{:?}/..", entry.path());
        }
        listed.push(name);
    }
    assert!(listed.is_sorted(), "a listing has the order of the image");
    assert_eq!(listed.len(), names.len(), "{path:?}");
    assert!(std::fs::symlink_metadata(path.join("no such name")).is_err());
}
