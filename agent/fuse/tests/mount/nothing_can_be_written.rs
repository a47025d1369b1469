use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use forebay_fs::memory::Contents;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};

use crate::harness::{errno, run, show};

type Try = fn(&Path) -> io::Result<()>;

fn flags(path: &Path, flags: i32) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(flags).open(path).map(drop)
}

/// Every way of changing something, at the root of a mount that has `file`, `dir/` and `dir/inner`.
const ATTEMPTS: &[(&str, Try)] = &[
    ("open for writing", |at| OpenOptions::new().write(true).open(at.join("file")).map(drop)),
    ("open for both", |at| OpenOptions::new().read(true).write(true).open(at.join("file")).map(drop)),
    ("open to append", |at| OpenOptions::new().append(true).open(at.join("file")).map(drop)),
    ("open to truncate", |at| flags(&at.join("file"), libc::O_TRUNC)),
    ("create", |at| File::create(at.join("new")).map(drop)),
    ("create for reading", |at| flags(&at.join("new"), libc::O_CREAT)),
    ("create exclusively", |at| File::create_new(at.join("new")).map(drop)),
    ("create without a name", |at| OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(at).map(drop)),
    ("truncate", |at| {
        let path = std::ffi::CString::new(at.join("file").to_str().unwrap())?;
        // SAFETY: `path` ends with a NUL byte.
        if unsafe { libc::truncate(path.as_ptr(), 0) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }),
    ("mkdir", |at| fs::create_dir(at.join("new"))),
    ("rmdir", |at| fs::remove_dir(at.join("empty"))),
    ("unlink", |at| fs::remove_file(at.join("file"))),
    ("rename", |at| fs::rename(at.join("file"), at.join("new"))),
    ("rename over", |at| fs::rename(at.join("file"), at.join("dir/inner"))),
    ("exchange", |at| Ok(rustix::fs::renameat_with(CWD, at.join("file"), CWD, at.join("dir"), RenameFlags::EXCHANGE)?)),
    ("link", |at| fs::hard_link(at.join("file"), at.join("new"))),
    ("symlink", |at| std::os::unix::fs::symlink("file", at.join("new"))),
    ("mknod", |at| Ok(rustix::fs::mknodat(CWD, at.join("new"), FileType::RegularFile, Mode::RUSR, 0)?)),
    ("mkfifo", |at| Ok(rustix::fs::mknodat(CWD, at.join("new"), FileType::Fifo, Mode::RUSR, 0)?)),
    ("chmod", |at| fs::set_permissions(at.join("file"), Permissions::from_mode(0o777))),
    ("chown", |at| std::os::unix::fs::chown(at.join("file"), Some(7), None)),
    ("set times", |at| {
        let when = Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = Timestamps { last_access: when, last_modification: when };
        Ok(rustix::fs::utimensat(CWD, at.join("file"), &times, AtFlags::empty())?)
    }),
    ("set xattr", |at| Ok(rustix::fs::setxattr(at.join("file"), "user.x", b"1", XattrFlags::empty())?)),
    ("remove xattr", |at| Ok(rustix::fs::removexattr(at.join("file"), "user.x")?)),
    ("access for writing", |at| Ok(rustix::fs::access(at.join("file"), rustix::fs::Access::WRITE_OK)?)),
];

fn contents() -> Contents {
    Contents::new().file("file", "content", 0).file("dir/inner", "inner", 0).dir("empty")
}

#[test]
fn f12_every_change_is_refused_as_on_any_read_only_file_system() {
    let shown = show(&contents());
    for (what, attempt) in ATTEMPTS {
        assert_eq!(errno(attempt(&shown.root())), libc::EROFS, "{what}");
    }
    unchanged(&shown.root());
}

/// The mount flag is the kernel's; without it the file system refuses just the same.
#[test]
fn f12_a_remount_for_writing_changes_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let shown = show(&contents());
    run("mount", &["-i", "-o", "remount,rw", shown.root().to_str().unwrap()], Path::new("/"));
    for (what, attempt) in ATTEMPTS {
        // The kernel grants access(2) by mode to root, and lacks a nameless create in FUSE without asking.
        let expect: &[i32] = match *what {
            "access for writing" => continue,
            "create without a name" => &[libc::EOPNOTSUPP, libc::EROFS],
            _ => &[libc::EROFS],
        };
        let found = errno(attempt(&shown.root()));
        assert!(expect.contains(&found), "{what}: {found}");
    }
    unchanged(&shown.root());
}

fn unchanged(root: &Path) {
    assert_eq!(run("find", &[".", "-printf", "%p %s\n"], root).lines().count(), 5);
    assert_eq!(fs::read(root.join("file")).unwrap(), b"content");
}

#[test]
fn f13_an_open_file_cannot_be_written() {
    let shown = show(&contents());
    let mut file = File::open(shown.path("file")).unwrap();
    assert_eq!(errno(file.write_all(b"x")), libc::EBADF);
    assert_eq!(errno(file.set_len(0)), libc::EINVAL);
    let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 10);
    assert_eq!(allocated, Err(rustix::io::Errno::BADF));
    // Harmless ones succeed: there is nothing to write back.
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(shown.path("dir")).unwrap().sync_all().unwrap();
    // To create what is there, for reading, is to open it.
    OpenOptions::new().read(true).custom_flags(libc::O_CREAT).open(shown.path("file")).unwrap();
}
