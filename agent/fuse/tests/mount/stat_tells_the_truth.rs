use std::os::unix::fs::MetadataExt;

use forebay_fs::Owner;
use forebay_fs::memory::Contents;

use crate::harness::{FOREVER, errno, run, show, show_with};

fn tree() -> Contents {
    Contents::new()
        .file("a/one", "12345", 1_500_000_000_123_456_789)
        .file("a/old", "x", -86_400_000_000_001)
        .file("a/b/two", vec![0; 10_000], 0)
        .dir("a/c")
}

#[test]
fn f04_attributes_are_the_objects() {
    let owner = Owner { uid: 1234, gid: 5678, file_mode: 0o640, dir_mode: 0o751 };
    let shown = show_with(&tree(), FOREVER, |options| options.owner = owner);
    for (path, mode, links, size, blocks) in [
        ("", 0o40751, 3, 0, 0),
        ("a", 0o40751, 4, 0, 0),
        ("a/c", 0o40751, 2, 0, 0),
        ("a/one", 0o100_640, 1, 5, 1),
        ("a/b/two", 0o100_640, 1, 10_000, 20),
    ] {
        let found = std::fs::metadata(shown.path(path)).unwrap();
        assert_eq!((found.mode(), found.nlink(), found.size(), found.blocks()), (mode, links, size, blocks), "{path}");
        assert_eq!((found.uid(), found.gid(), found.blksize()), (1234, 5678, 4096), "{path}");
    }
    let one = std::fs::metadata(shown.path("a/one")).unwrap();
    assert_eq!((one.mtime(), one.mtime_nsec()), (1_500_000_000, 123_456_789));
    assert_eq!((one.atime(), one.ctime()), (1_500_000_000, 1_500_000_000));
    let old = std::fs::metadata(shown.path("a/old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-86_401, 999_999_999));
}

#[test]
fn f05_inode_numbers_survive_a_restart() {
    let numbers = || {
        let shown = show(&tree());
        ["", "a", "a/one", "a/b/two"].map(|path| std::fs::metadata(shown.path(path)).unwrap().ino())
    };
    let first = numbers();
    assert_eq!(first[0], 1);
    assert_eq!(first, numbers());
}

/// `find` skips looking for directories once it has seen as many as the link count tells; a wrong count would hide some.
#[test]
fn f06_link_counts_lead_find_everywhere() {
    let contents = (0..50).fold(Contents::new(), |all, at| all.file(format!("p{}/q{at}/leaf", at % 5), "", 0));
    let shown = show(&contents);
    assert_eq!(run("find", &[".", "-name", "leaf"], &shown.root()).lines().count(), 50);
    assert_eq!(std::fs::metadata(shown.path("p0")).unwrap().nlink(), 12);
}

#[test]
fn f07_df_shows_the_dataset() {
    let shown = show(&tree());
    let found = rustix::fs::statvfs(shown.root()).unwrap();
    assert_eq!((found.f_blocks, found.f_bfree, found.f_bavail, found.f_files), (3, 0, 0, 3));
    assert_eq!((found.f_frsize, found.f_namemax), (4096, 255));
    let shown_by_df = run("df", &["--output=source,fstype,itotal", "."], &shown.root());
    let line: Vec<_> = shown_by_df.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line, ["forebay:tests/memory", "fuse.forebay", "3"]);
    let used = run("du", &["-sb", "--apparent-size", "a/b/two"], &shown.root());
    assert!(used.starts_with("10000\t"), "{used}");
}

#[test]
fn f08_permissions_hold_for_ordinary_users() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let owner = Owner { uid: 0, gid: 0, file_mode: 0o640, dir_mode: 0o755 };
    let shown = show_with(&tree(), FOREVER, |options| options.owner = owner);
    let as_nobody = |command: &str| as_nobody(&shown.root(), command);
    assert!(as_nobody("ls a/b && stat a/one").0);
    let (read, complaint) = as_nobody("cat a/one");
    assert!(!read && complaint.contains("Permission denied"), "{complaint}");
    assert!(!as_nobody("test -r a/one || test -w a || test -x a/one").0);
}

#[test]
fn f08_others_stay_outside_when_so_chosen() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let shown = show_with(&tree(), FOREVER, |options| options.allow_other = false);
    assert!(std::fs::metadata(shown.path("a/one")).is_ok());
    assert!(!as_nobody(&shown.root(), "true").0);
}

/// What a container runtime does for a pod that has a user namespace: its root owns what root owns here.
#[test]
fn f08_owners_can_be_shifted_for_a_user_namespace() {
    use rustix::fs::CWD;
    use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
    use std::os::fd::AsRawFd;
    if !rustix::process::geteuid().is_root() || kernel() < (6, 12) {
        return;
    }
    let shown = show(&tree());
    let mut holder = std::process::Command::new("unshare").args(["--user", "sleep", "1000"]).spawn().unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", holder.id()));
    let own = std::fs::read_link("/proc/self/ns/user").unwrap();
    crate::harness::wait_until("it has its namespace", || std::fs::read_link(process.join("ns/user")).unwrap() != own);
    std::fs::write(process.join("uid_map"), "0 100000 65536").unwrap();
    std::fs::write(process.join("gid_map"), "0 200000 65536").unwrap();
    let namespace = std::fs::File::open(process.join("ns/user")).unwrap();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = rustix::mount::open_tree(CWD, shown.root(), flags).unwrap();
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    // SAFETY: the path is empty and ends with a NUL byte, the structure is as large as said, both descriptors are open.
    let result = unsafe {
        let size = size_of::<libc::mount_attr>();
        libc::syscall(libc::SYS_mount_setattr, clone.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, &attributes, size)
    };
    let done = if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    holder.kill().unwrap();
    holder.wait().unwrap();
    done.unwrap();
    let at = shown.root().with_file_name("shifted");
    std::fs::create_dir(&at).unwrap();
    rustix::mount::move_mount(&clone, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).unwrap();
    let found = std::fs::metadata(at.join("a/one")).map(|found| (found.uid(), found.gid(), found.size()));
    let content = std::fs::read(at.join("a/one"));
    rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();
    assert_eq!(found.unwrap(), (100_000, 200_000, 5));
    assert_eq!(content.unwrap(), b"12345");
    assert_eq!(std::fs::metadata(shown.path("a/one")).unwrap().uid(), 0);
}

/// The running kernel's major and minor version.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Runs `command` in `root` as a user without rights: success, and what was complained of.
fn as_nobody(root: &std::path::Path, command: &str) -> (bool, String) {
    // The directory above is private to this user.
    run("chmod", &["a+x", "."], root.parent().unwrap());
    let script = format!("cd '{}' && {command}", root.display());
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script])
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn f09_extended_attributes_are_shown_when_wanted() {
    let read = |shown: &crate::harness::Shown<_>, name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(shown.path("a/one"), name, &mut value[..])?;
        std::io::Result::Ok(String::from_utf8(value[..length].to_vec()).unwrap())
    };
    let without = show(&tree());
    assert_eq!(errno(read(&without, "user.forebay.ino")), libc::EOPNOTSUPP);
    let with = show_with(&tree(), FOREVER, |options| options.xattrs = true);
    let ino = std::fs::metadata(with.path("a/one")).unwrap().ino();
    assert_eq!(read(&with, "user.forebay.ino").unwrap(), ino.to_string());
    assert_eq!(errno(read(&with, "user.other")), libc::ENODATA);
    let mut names = [0; 64];
    let length = rustix::fs::listxattr(with.path("a/one"), &mut names[..]).unwrap();
    assert_eq!(&names[..length], b"user.forebay.ino\0");
    assert_eq!(rustix::fs::listxattr(with.path("a/one"), &mut names[..3]), Err(rustix::io::Errno::RANGE));
}
