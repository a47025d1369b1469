use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fuse::{MountOptions, mount};

use crate::harness::{FOREVER, directory, errno, pattern, runtime};

fn before() -> Contents {
    Contents::new().file("d/changed", pattern(1, 500_000), 1).file("d/same", "same", 1).file("d/removed", "r", 1).dir("gone")
}

fn after() -> Contents {
    Contents::new().file("d/changed", pattern(2, 400_000), 2).file("d/same", "same", 1).file("d/added", "a", 2).dir("new")
}

fn show_by(validity: Duration, by_name: bool) -> (std::sync::Arc<MemoryTree>, forebay_fuse::Mounted, tempfile::TempDir) {
    let tree = std::sync::Arc::new(MemoryTree::new(&before(), validity));
    let dir = directory();
    let mut options = MountOptions::new("tests/changing", dir.path().join("m"));
    options.beneath_overlay = by_name;
    let mounted = mount(std::sync::Arc::clone(&tree), &options, runtime().handle().clone()).unwrap();
    (tree, mounted, dir)
}

fn show(validity: Duration) -> (std::sync::Arc<MemoryTree>, forebay_fuse::Mounted, tempfile::TempDir) {
    show_by(validity, false)
}

fn names(at: &std::path::Path) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn f18_a_new_generation_is_seen_at_once_and_open_files_stay_on_theirs() {
    let (tree, mounted, _dir) = show(FOREVER);
    let at = mounted.at().to_owned();
    let look = |path: &str| fs::metadata(at.join(path));
    // All that a kernel can remember: entries present and absent, attributes, pages, listings.
    assert_eq!(names(&at.join("d")), ["changed", "removed", "same"]);
    assert_eq!(names(&at), ["d", "gone"]);
    assert_eq!(errno(look("d/added")), libc::ENOENT);
    assert_eq!(errno(look("new")), libc::ENOENT);
    let held = File::open(at.join("d/changed")).unwrap();
    let mut start = vec![0; 200_000];
    held.read_exact_at(&mut start, 0).unwrap();
    // SAFETY: nobody can change a version of the twin under the mapping.
    let mapped = unsafe { memmap2::Mmap::map(&held) }.unwrap();
    assert_eq!(mapped[0], pattern(1, 1)[0]);
    let (same, changed) = (look("d/same").unwrap().ino(), look("d/changed").unwrap().ino());

    tree.replace(&after());
    mounted.notifier().invalidate_all([b"d".as_slice(), b"gone"]).unwrap();

    assert_eq!(names(&at.join("d")), ["added", "changed", "same"]);
    assert_eq!(names(&at), ["d", "new"]);
    assert_eq!(fs::read(at.join("d/added")).unwrap(), b"a");
    assert_eq!(errno(look("d/removed")), libc::ENOENT);
    assert_eq!(errno(look("gone")), libc::ENOENT);
    assert!(look("new").unwrap().is_dir());
    assert_eq!(look("d/same").unwrap().ino(), same);
    assert_eq!(look("d/changed").unwrap().size(), 400_000);
    assert_ne!(look("d/changed").unwrap().ino(), changed);
    // The old and the new version side by side, each whole.
    let mut new = Vec::new();
    File::open(at.join("d/changed")).unwrap().read_to_end(&mut new).unwrap();
    assert!(new == pattern(2, 400_000));
    let mut old = vec![0; 500_000];
    held.read_exact_at(&mut old, 0).unwrap();
    assert!(old == pattern(1, 500_000));
    assert!(mapped[..] == old);
    assert_eq!(held.metadata().unwrap().size(), 500_000);
}

#[test]
fn f18_names_that_are_taken_back_one_by_one_need_no_memory_of_those_before() {
    let (tree, mounted, _dir) = show_by(FOREVER, true);
    let at = mounted.at().to_owned();
    assert_eq!(names(&at), ["d", "gone"]);
    assert_eq!(names(&at.join("d")), ["changed", "removed", "same"]);
    assert!(fs::metadata(at.join("gone")).is_ok() && fs::metadata(at.join("d/removed")).is_ok());
    assert_eq!(errno(fs::metadata(at.join("new"))), libc::ENOENT);
    tree.replace(&after());
    // As a server does that knows the present root alone.
    mounted.notifier().invalidate_all([b"d".as_slice(), b"new"]).unwrap();
    assert_eq!(names(&at), ["d", "new"]);
    assert_eq!(names(&at.join("d")), ["added", "changed", "same"]);
    assert_eq!(errno(fs::metadata(at.join("d/removed"))), libc::ENOENT);
    assert!(fs::metadata(at.join("new")).is_ok());
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while fs::metadata(at.join("gone")).is_ok() {
        assert!(std::time::Instant::now() < until, "a name that is gone from the root is shown for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn f18_one_entry_or_inode_can_be_forgotten() {
    let (tree, mounted, _dir) = show(FOREVER);
    let at = mounted.at().to_owned();
    let dir = fs::metadata(at.join("d")).unwrap().ino();
    assert_eq!(fs::read(at.join("d/removed")).unwrap(), b"r");
    assert_eq!(errno(fs::metadata(at.join("d/added"))), libc::ENOENT);
    tree.replace(&after());
    // Not told, not known: the kernel was promised that answers hold for ever.
    assert_eq!(errno(fs::metadata(at.join("d/added"))), libc::ENOENT);
    let notifier = mounted.notifier();
    notifier.invalidate_entry(dir, b"added").unwrap();
    notifier.invalidate_entry(dir, b"removed").unwrap();
    assert_eq!(fs::read(at.join("d/added")).unwrap(), b"a");
    assert_eq!(errno(fs::metadata(at.join("d/removed"))), libc::ENOENT);
    // What the kernel never heard of is no error, nor is a mount that is gone.
    notifier.invalidate_entry(dir, b"unheard of").unwrap();
    notifier.invalidate_entry(4711, b"x").unwrap();
    notifier.invalidate_inode(4711).unwrap();
    let notifier = notifier.clone();
    mounted.unmount(Duration::from_secs(30)).unwrap();
    notifier.invalidate_inode(dir).unwrap();
    notifier.invalidate_all([""; 0]).unwrap();
}

#[test]
fn f19_answers_that_expire_are_asked_again() {
    let (tree, mounted, _dir) = show(Duration::ZERO);
    let at = mounted.at().to_owned();
    assert_eq!(errno(fs::metadata(at.join("d/added"))), libc::ENOENT);
    assert!(fs::read(at.join("d/changed")).unwrap() == pattern(1, 500_000));
    tree.replace(&after());
    assert_eq!(fs::read(at.join("d/added")).unwrap(), b"a");
    assert!(fs::read(at.join("d/changed")).unwrap() == pattern(2, 400_000));
    assert_eq!(errno(fs::metadata(at.join("d/removed"))), libc::ENOENT);
    assert_eq!(names(&at.join("d")), ["added", "changed", "same"]);
}

/// A process that works inside the tree goes on after a change of generation.
#[test]
fn f20_a_working_directory_survives() {
    let (tree, mounted, _dir) = show(FOREVER);
    let at = mounted.at().to_owned();
    let mut shell = Command::new("sh").current_dir(at.join("d")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    tree.replace(&after());
    mounted.notifier().invalidate_all([b"d".as_slice()]).unwrap();
    assert_eq!(fs::read(at.join("d/added")).unwrap(), b"a");
    mounted.notifier().invalidate_entry(forebay_fs::ROOT_INO, b"d").unwrap();
    let mut input = shell.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"cat added same; readlink /proc/$$/cwd; cat ../d/added\n").unwrap();
    drop(input);
    let mut said = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(shell.wait().unwrap().success());
    assert_eq!(said, format!("asame{}/d\na", at.display()));
}
