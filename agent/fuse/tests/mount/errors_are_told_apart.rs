use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use forebay_fs::FsError;
use forebay_fs::failing::{Fault, Operation};
use forebay_fs::memory::Contents;

use crate::harness::{errno, pattern, show, show_with};

fn io() -> FsError {
    FsError::Io { message: "Dataset tests/memory, mount /, object a: connection refused; check the endpoint".to_owned() }
}

#[test]
fn f14_what_is_missing_is_missing_and_what_fails_fails() {
    // Nothing is remembered, so that each look-up meets the fault of its moment.
    let shown = show_with(&Contents::new().file("a", "x", 0).file("d/b", "y", 0), std::time::Duration::ZERO, |_| {});
    assert_eq!(errno(fs::metadata(shown.path("none"))), libc::ENOENT);
    assert_eq!(errno(fs::metadata(shown.path("a/none"))), libc::ENOTDIR);
    assert_eq!(errno(fs::metadata(shown.path(&"n".repeat(256)))), libc::ENAMETOOLONG);
    assert_eq!(errno(fs::read(shown.path("d"))), libc::EISDIR);
    assert_eq!(errno(fs::read_dir(shown.path("a"))), libc::ENOTDIR);
    shown.tree.inject(Operation::Lookup, None, Fault::Error(io()));
    for name in ["a", "none", "d"] {
        assert_eq!(errno(fs::metadata(shown.path(name))), libc::EIO, "{name}");
    }
    shown.tree.heal();
    assert_eq!(errno(fs::metadata(shown.path("none"))), libc::ENOENT);
    assert_eq!(fs::read(shown.path("a")).unwrap(), b"x");
    shown.tree.inject(Operation::ReadDir, None, Fault::Error(io()));
    let entries: Vec<_> = fs::read_dir(shown.path("d")).unwrap().collect();
    assert_eq!(entries.into_iter().filter_map(Result::err).filter_map(|e| e.raw_os_error()).next(), Some(libc::EIO));
    shown.tree.heal();
    assert_eq!(fs::read_dir(shown.path("d")).unwrap().count(), 1);
}

#[test]
fn f15_each_kind_of_failure_reaches_the_reader_and_ends() {
    let faults = [
        (io(), libc::EIO),
        (FsError::TimedOut { message: "Dataset t, mount /, object a: no answer within 30 s".to_owned() }, libc::ETIMEDOUT),
        (FsError::Stale { message: "Dataset t, mount /, object a: changed under the snapshot".to_owned() }, libc::ESTALE),
        (FsError::Denied { message: "Dataset t, mount /, object a: 403".to_owned() }, libc::EACCES),
    ];
    let shown = show(&Contents::new().file("a", pattern(1, 200_000), 0));
    let ino = fs::metadata(shown.path("a")).unwrap().ino();
    for cold in [false, true] {
        shown.tree.set_cold(cold);
        for (fault, expect) in &faults {
            shown.tree.inject(Operation::Open, Some(ino), Fault::Error(fault.clone()));
            assert_eq!(errno(File::open(shown.path("a"))), *expect, "open, cold {cold}");
            shown.tree.heal();
            // Past the page cache an error comes as it is; through it the kernel makes EIO of every read error.
            shown.tree.inject(Operation::Read, Some(ino), Fault::Error(fault.clone()));
            let mut direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(shown.path("a")).unwrap();
            assert_eq!(errno(direct.read(&mut [0; 4096])), *expect, "read, cold {cold}");
            let paged = errno(File::open(shown.path("a")).unwrap().read(&mut [0; 4096]));
            assert!(paged == *expect || paged == libc::EIO, "paged read, cold {cold}: {paged}");
            shown.tree.heal();
        }
        // Nothing of the faults stays behind.
        assert!(fs::read(shown.path("a")).unwrap() == pattern(1, 200_000), "cold {cold}");
        shown.mounted().notifier().invalidate_inode(ino).unwrap();
    }
}
