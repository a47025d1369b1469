use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use crate::support::{Bench, at, bytes_of};

#[test]
fn complete_files_of_both_tiers_are_read_with_nothing_running() {
    let files: Vec<(String, u64)> = (0..300).map(|i| (format!("train/{:02}/{i}.jpg", i % 7), i * 1_013)).collect();
    let files: Vec<(&str, u64)> = files.iter().map(|(key, size)| (key.as_str(), *size)).collect();
    let bench = Bench::new(&files);
    for (i, (key, _)) in files.iter().enumerate().filter(|(_, (_, size))| *size > 0) {
        bench.cache(i % 2, &format!("/{key}"));
    }
    let composed = bench.mount();
    for (key, _) in &files {
        bench.assert_reads(&composed, &format!("/{key}"));
    }
}

#[test]
fn what_is_not_cached_is_not_there_to_open_and_comes_when_it_is() {
    let bench = Bench::new(&[("a/b", 5_000), ("a/c", 100)]);
    let composed = bench.mount();
    assert_eq!(fs::metadata(at(&composed, "/a/b")).unwrap().len(), 5_000);
    assert_eq!(fs::File::open(at(&composed, "/a/b")).unwrap_err().kind(), ErrorKind::NotFound);
    bench.cache(1, "/a/b");
    bench.assert_reads(&composed, "/a/b");
    assert!(fs::File::open(at(&composed, "/a/c")).is_err());
}

/// A file that was removed from its tier stays readable for who has it open, and its space comes back when they are gone and the
/// kernel was told to forget.
#[test]
fn a_file_that_moved_is_found_again_after_forgetting() {
    let bench = Bench::new(&[("a", 200_000), ("b", 300)]);
    bench.cache(1, "/a");
    bench.cache(1, "/b");
    let composed = bench.mount();
    bench.assert_reads(&composed, "/a");
    let open = fs::File::open(at(&composed, "/b")).unwrap();

    bench.cache(0, "/a");
    fs::remove_file(bench.cached(1, "/a")).unwrap();
    fs::remove_file(bench.cached(1, "/b")).unwrap();
    composed.forget().unwrap();
    bench.assert_reads(&composed, "/a");
    let mut whole = Vec::new();
    (&open).read_to_end(&mut whole).unwrap();
    assert!(whole == bytes_of(&bench.entry("/b")));
    drop(open);
    composed.forget().unwrap();
    assert_eq!(fs::File::open(at(&composed, "/b")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn nothing_can_be_written() {
    let bench = Bench::new(&[("a", 200)]);
    bench.cache(0, "/a");
    let composed = bench.mount();
    let read_only = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    read_only(fs::write(at(&composed, "/a"), "x").unwrap_err());
    read_only(fs::write(at(&composed, "/new"), "x").unwrap_err());
    read_only(fs::remove_file(at(&composed, "/a")).unwrap_err());
    let open = fs::File::open(at(&composed, "/a")).unwrap();
    assert!(open.write_at(b"x", 0).is_err());
    bench.assert_reads(&composed, "/a");
}
