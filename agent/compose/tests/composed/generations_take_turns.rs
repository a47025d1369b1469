use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mount::{UnmountFlags, unmount};

use crate::support::{Bench, bytes_of};

/// A mount point that is free again when this goes.
struct Place(tempfile::TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("at")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        while unmount(self.path(), UnmountFlags::DETACH).is_ok() {}
    }
}

fn names(at: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_next_one_takes_the_place_of_the_former_and_open_files_go_on() {
    let former = Bench::new(&[("a", 70_000), ("old", 1)]);
    let next = Bench::new(&[("a", 90_000), ("new", 1)]);
    former.cache(0, "/a");
    next.cache(0, "/a");
    let place = Place(tempfile::tempdir().unwrap());
    let at = place.path();
    fs::create_dir(&at).unwrap();

    let first = former.mount();
    first.attach(&at).unwrap();
    assert_eq!(names(&at), ["a", "old"]);
    let mut open = fs::File::open(at.join("a")).unwrap();
    let second = next.mount();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // At no moment is there neither.
        let watch = scope.spawn(|| {
            let mut seen = 0u64;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let len = fs::metadata(at.join("a")).expect("one of the two is there").len();
                assert!(len == 70_000 || len == 90_000);
                seen += 1;
            }
        });
        second.replace(&at).unwrap();
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap();
    });
    drop(first);
    assert_eq!(names(&at), ["a", "new"]);
    assert!(fs::read(at.join("a")).unwrap() == bytes_of(&next.entry("/a")));
    let mut whole = Vec::new();
    open.read_to_end(&mut whole).unwrap();
    assert!(whole == bytes_of(&former.entry("/a")));
    drop(second);
    unmount(&at, UnmountFlags::empty()).expect("nothing else is mounted there, and nobody uses it");
    assert!(names(&at).is_empty());
}
