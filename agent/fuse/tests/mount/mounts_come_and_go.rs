use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fuse::{MountError, MountOptions, Mounted, Unmounted, cleanup_dead, cleanup_dead_below, mount};

use crate::harness::{FOREVER, directory, errno, is_mount_point, pattern, runtime, wait_until};

const PATIENT: Duration = Duration::from_secs(30);

fn tree(seed: u64) -> Arc<MemoryTree> {
    Arc::new(MemoryTree::new(&Contents::new().file("d/f", pattern(seed, 3 << 20), 0), FOREVER))
}

fn mount_at(at: &Path, seed: u64) -> Result<Mounted, MountError> {
    mount(tree(seed), &MountOptions::new(format!("tests/m{seed}"), at), runtime().handle().clone())
}

/// Programs of a whole process: started with the place in the environment, it mounts there and waits to be killed.
#[test]
fn child_that_serves() {
    let Some(at) = std::env::var_os("FOREBAY_FUSE_TEST_SERVE_AT") else { return };
    // Not to outlive the test that started it, however that ends.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let _mounted = mount_at(Path::new(&at), 7).unwrap();
    loop {
        std::thread::park();
    }
}

/// A serving process, killed as by SIGKILL when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve_in_child(at: &Path) -> Server {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mounts_come_and_go::child_that_serves"])
        .env("FOREBAY_FUSE_TEST_SERVE_AT", at)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    wait_until("the child has mounted", || at.join("d/f").exists());
    server
}

#[test]
fn f21_an_unmount_leaves_nothing() {
    let dir = directory();
    let at = dir.path().join("a/b");
    let mounted = mount_at(&at, 1).unwrap();
    let at = mounted.at().to_owned();
    assert!(is_mount_point(&at) && !mounted.has_ended());
    assert_eq!(fs::read(at.join("d/f")).unwrap().len(), 3 << 20);
    assert_eq!(mounted.unmount(PATIENT).unwrap(), Unmounted::Cleanly);
    assert!(!is_mount_point(&at));
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    drop(mount_at(&at, 2).unwrap());
    assert!(!is_mount_point(&at), "a drop unmounts too");
}

#[test]
fn f26_two_mounts_show_each_its_own() {
    let dir = directory();
    let one = mount_at(&dir.path().join("one"), 1).unwrap();
    let two = mount_at(&dir.path().join("two"), 2).unwrap();
    for (mounted, seed) in [(&one, 1), (&two, 2)] {
        assert!(fs::read(mounted.at().join("d/f")).unwrap() == pattern(seed, 3 << 20));
    }
    assert_eq!(one.unmount(PATIENT).unwrap(), Unmounted::Cleanly);
    assert!(fs::read(two.at().join("d/f")).unwrap() == pattern(2, 3 << 20));
}

#[test]
fn f21_a_busy_mount_is_waited_for_then_detached() {
    let dir = directory();
    let mounted = mount_at(&dir.path().join("m"), 1).unwrap();
    let at = mounted.at().to_owned();
    let mut held = File::open(at.join("d/f")).unwrap();
    assert_eq!(mounted.unmount(Duration::from_millis(100)).unwrap(), Unmounted::Lazily);
    assert!(!is_mount_point(&at));
    // Whoever had it open reads on.
    let mut found = Vec::new();
    held.read_to_end(&mut found).unwrap();
    assert!(found == pattern(1, 3 << 20));

    let mounted = mount_at(&at, 2).unwrap();
    let held = File::open(at.join("d/f")).unwrap();
    let unmounting = std::thread::spawn(move || mounted.unmount(PATIENT).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_mount_point(&at));
    drop(held);
    assert_eq!(unmounting.join().unwrap(), Unmounted::Cleanly);
}

#[test]
fn f22_a_mount_taken_down_from_outside_is_noticed() {
    let dir = directory();
    let mounted = mount_at(&dir.path().join("m"), 1).unwrap();
    let by = if rustix::process::geteuid().is_root() { vec!["umount"] } else { vec!["fusermount3", "-u"] };
    assert!(Command::new(by[0]).args(&by[1..]).arg(mounted.at()).status().unwrap().success());
    wait_until("serving has ended", || mounted.has_ended());
    assert_eq!(mounted.unmount(PATIENT).unwrap(), Unmounted::Cleanly);
}

#[test]
fn f23_a_place_in_use_is_refused() {
    let dir = directory();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("precious"), "x").unwrap();
    let error = mount_at(&full, 1).unwrap_err();
    assert!(matches!(error, MountError::NotEmpty { .. }) && error.to_string().contains("full is not empty"), "{error}");
    let error = mount_at(&full.join("precious"), 1).unwrap_err();
    assert!(matches!(error, MountError::MountPoint { .. }), "{error}");
    let mounted = mount_at(&dir.path().join("m"), 1).unwrap();
    let error = mount_at(mounted.at(), 2).unwrap_err();
    assert!(matches!(error, MountError::Occupied { .. }) && error.to_string().contains("forebay:tests/m1"), "{error}");
    assert!(mounted.at().join("d/f").exists());
}

#[test]
fn f24_a_killed_server_is_cleaned_up_and_mounted_again() {
    let dir = directory();
    let at = dir.path().join("m");
    let child = serve_in_child(&at);
    assert_eq!(cleanup_dead(&at).unwrap(), 0, "a living mount is left alone");
    let held = File::open(at.join("d/f")).unwrap();
    drop(child);
    assert_eq!(errno(fs::metadata(at.join("d/other"))), libc::ENOTCONN);
    let error = mount_at(&at, 1).unwrap_err();
    assert!(matches!(error, MountError::MountPoint { .. } | MountError::Occupied { .. }), "{error:?}");
    assert_eq!(cleanup_dead(&at).unwrap(), 1);
    assert_eq!(cleanup_dead(&at).unwrap(), 0);
    drop(held);
    let mounted = mount_at(&at, 3).unwrap();
    assert!(fs::read(at.join("d/f")).unwrap() == pattern(3, 3 << 20));
    assert_eq!(cleanup_dead(&at).unwrap(), 0);
    mounted.unmount(PATIENT).unwrap();
}

#[test]
fn f24_all_dead_mounts_below_a_directory_are_found() {
    let dir = directory();
    let (one, two, alive) = (dir.path().join("one"), dir.path().join("x/two"), dir.path().join("alive"));
    let children = [serve_in_child(&one), serve_in_child(&two)];
    let mounted = mount_at(&alive, 1).unwrap();
    drop(children);
    let mut found = cleanup_dead_below(dir.path()).unwrap();
    found.sort();
    let expect: Vec<PathBuf> = [one, two].iter().map(|at| at.canonicalize().unwrap()).collect();
    assert_eq!(found, expect);
    assert!(mounted.at().join("d/f").exists());
    assert_eq!(cleanup_dead_below(&dir.path().join("missing/dir")).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn f25_nothing_of_others_is_cleaned_up() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = directory();
    let at = dir.path().join("tmpfs");
    fs::create_dir(&at).unwrap();
    // Even one that calls itself what ours are called.
    assert!(Command::new("mount").args(["-t", "tmpfs", "forebay:tests/x"]).arg(&at).status().unwrap().success());
    let guard = Detach(at.clone());
    assert_eq!(cleanup_dead(&at).unwrap(), 0);
    assert!(is_mount_point(&at.canonicalize().unwrap()));
    drop(guard);
    assert!(!is_mount_point(&at.canonicalize().unwrap()));
    assert_eq!(cleanup_dead(&at).unwrap(), 0, "a plain directory");
    assert_eq!(cleanup_dead(&dir.path().join("none")).unwrap(), 0, "nothing at all");

    // A mount over ours is not ours to take down.
    let mounted = mount_at(&dir.path().join("m"), 1).unwrap();
    let at = mounted.at().to_owned();
    assert!(Command::new("mount").args(["-t", "tmpfs", "cover"]).arg(&at).status().unwrap().success());
    let cover = Detach(at.clone());
    let error = mounted.unmount(Duration::ZERO).unwrap_err();
    assert!(matches!(error, MountError::Covered { .. }) && error.to_string().contains("cover"), "{error}");
    assert!(is_mount_point(&at));
    drop(cover);
    Detach(at.clone());
    wait_until("both are gone", || !is_mount_point(&at));
}

/// Takes the top mount down when dropped.
struct Detach(PathBuf);

impl Drop for Detach {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn f27_the_helper_mounts_and_unmounts_without_privilege() {
    if Command::new("fusermount3").arg("-V").output().is_err() {
        return;
    }
    let dir = directory();
    let mut options = MountOptions::new("tests/with, comma", dir.path().join("m"));
    options.use_helper = true;
    let mounted = mount(tree(5), &options, runtime().handle().clone()).unwrap();
    assert!(fs::read(mounted.at().join("d/f")).unwrap() == pattern(5, 3 << 20));
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = all.lines().find(|line| line.contains(mounted.at().to_str().unwrap())).unwrap();
    assert!(line.contains(" - fuse.forebay forebay:tests/with_\\040comma ro"), "{line}");
    assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
    assert_eq!(errno(File::create(mounted.at().join("x"))), libc::EROFS);
    assert_eq!(mounted.unmount(PATIENT).unwrap(), Unmounted::Cleanly);
}
