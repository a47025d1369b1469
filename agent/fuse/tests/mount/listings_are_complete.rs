use std::collections::HashSet;
use std::ffi::CStr;
use std::thread;

use forebay_fs::memory::Contents;

use crate::harness::{run, show};

const MANY: usize = 100_000;

fn crowd(count: usize) -> Contents {
    (0..count).fold(Contents::new().dir("empty"), |all, at| all.file(format!("crowd/file-{at:06}.bin"), "", 0))
}

#[test]
fn f10_a_hundred_thousand_entries_each_appear_once() {
    let shown = show(&crowd(MANY));
    let list = || -> Vec<String> {
        let entries = std::fs::read_dir(shown.path("crowd")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // Three ways through the kernel: asked anew, from its own memory of the listing, and by many at once.
    for _ in 0..2 {
        let names = list();
        assert_eq!(names.len(), MANY);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), MANY);
    }
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| list().len())).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), MANY);
        }
    });
    let found = run("find", &["crowd", "-type", "f", "-name", "*.bin"], &shown.root());
    assert_eq!(found.lines().count(), MANY);
}

#[test]
fn f10_sizes_come_with_the_names() {
    let shown = show(&(0..3000).fold(Contents::new(), |all, at| all.file(format!("f{at:04}"), vec![1; at], 7_000_000_000)));
    let long = run("ls", &["-l", "--time-style=+%s"], &shown.root());
    for (at, line) in long.lines().skip(1).enumerate() {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields, ["-r--r--r--", "1", "root", "root", &at.to_string(), "7", &format!("f{at:04}")]);
    }
    assert_eq!(long.lines().count(), 3001);
}

/// `telldir` and `seekdir` at every entry: the listing goes on right behind it, also long after.
#[test]
fn f11_a_listing_is_resumed_at_any_entry() {
    let shown = show(&crowd(700));
    let path = std::ffi::CString::new(shown.path("crowd").to_str().unwrap()).unwrap();
    // SAFETY: `path` ends with a NUL byte.
    let dir = unsafe { libc::opendir(path.as_ptr()) };
    assert!(!dir.is_null());
    let next = || {
        // SAFETY: `dir` is open until the end of this function, and used by this thread only.
        let entry = unsafe { libc::readdir(dir) };
        // SAFETY: a non-null entry stands until the next call, and its name ends with a NUL byte.
        (!entry.is_null()).then(|| unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) }.to_str().unwrap().to_owned())
    };
    let mut whole = Vec::new();
    loop {
        // SAFETY: `dir` is open.
        let before = unsafe { libc::telldir(dir) };
        let Some(name) = next() else { break };
        whole.push((before, name));
    }
    let mut names: Vec<_> = whole.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[1]), (702, ".", ".."));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 702);
    for (at, (place, _)) in whole.iter().enumerate().rev() {
        // SAFETY: `dir` is open, `place` is from its `telldir`.
        unsafe { libc::seekdir(dir, *place) };
        for (_, expect) in whole.iter().skip(at).take(3) {
            assert_eq!(next().as_ref(), Some(expect), "resumed before entry {at}");
        }
    }
    // SAFETY: `dir` is open.
    unsafe { libc::rewinddir(dir) };
    assert_eq!(next().as_deref(), Some("."));
    // SAFETY: `dir` is open, and not used after.
    assert_eq!(unsafe { libc::closedir(dir) }, 0);
}

#[test]
fn f10_an_empty_directory_is_empty() {
    let shown = show(&crowd(1));
    assert_eq!(std::fs::read_dir(shown.path("empty")).unwrap().count(), 0);
    assert_eq!(run("ls", &["-a", "empty"], &shown.root()), ".\n..\n");
}
