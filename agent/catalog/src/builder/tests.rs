#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::ino;

fn config(memory: usize) -> BuilderConfig {
    let mounts = vec![MountSpec::new("/", "mem://x")];
    BuilderConfig { dataset: "d".into(), generation: 1, listed_at_ns: 5, mounts, memory }
}

fn build(keys: &[String], bits: u32) -> Result<(tempfile::TempDir, Catalog), CatalogError> {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(dir.path(), config(1 << 20))?.with_hash_bits(bits);
    for key in keys {
        builder.add(0, Listed { key, size: 1, mtime_ns: 1, version: "m1" })?;
    }
    let catalog = builder.finish(&dir.path().join("c"))?;
    Ok((dir, catalog))
}

/// What the number of `path` in a catalog of [`build`] is made of.
fn natural(path: &str, bits: u32) -> u64 {
    let path = path.trim_start_matches('/');
    let is_file = path.rsplit('/').next().is_some_and(|name| name.starts_with('f'));
    let input = if is_file { ino::file_input(path.as_bytes(), "m1", 1) } else { path.as_bytes().to_vec() };
    ino::candidate(&input, 0, bits)
}

fn numbers(catalog: &Catalog) -> BTreeMap<String, u64> {
    (0..catalog.len()).map(|i| catalog.entry(i).unwrap()).map(|e| (e.path(), e.ino())).collect()
}

#[test]
fn colliding_numbers_are_told_apart_the_same_way_in_any_order() {
    const BITS: u32 = 10;
    let mut keys: Vec<String> = (0..600).map(|i| format!("d{}/f{i}", i % 7)).collect();
    let (_dir, catalog) = build(&keys, BITS).unwrap();
    let inos = numbers(&catalog);
    assert_eq!(inos.len(), 608);
    assert_eq!(inos.values().collect::<HashSet<_>>().len(), 608, "a number twice");
    assert_eq!(inos["/"], 1);
    assert!(inos.iter().all(|(path, &ino)| path == "/" || (2..1 << BITS).contains(&ino)));
    for (path, &ino) in &inos {
        assert_eq!(catalog.by_ino(ino).unwrap().path(), *path);
    }
    for absent in (0..1 << BITS).filter(|ino| !inos.values().any(|i| i == ino)) {
        assert!(catalog.by_ino(absent).is_none());
    }

    // The rule, in the words of `assign`: breadth first, the first keeps its own, the others take what nobody has.
    let order: Vec<String> = (1..catalog.len()).map(|i| catalog.entry(i).unwrap().path()).collect();
    let mut taken: BTreeMap<u64, &str> = BTreeMap::new();
    let mut losers = Vec::new();
    for path in &order {
        let ino = natural(path, BITS);
        if ino < 2 || taken.contains_key(&ino) {
            losers.push(path);
        } else {
            taken.insert(ino, path);
        }
    }
    assert!(losers.len() > 100, "{}", losers.len());
    for path in losers {
        let free = (1..).map(|n| ino::candidate(&path.as_bytes()[1..], n, BITS));
        let ino = free.into_iter().find(|ino| *ino > 1 && !taken.contains_key(ino)).unwrap();
        taken.insert(ino, path);
    }
    assert!(taken.iter().all(|(ino, path)| inos[*path] == *ino));

    keys.reverse();
    let (_dir, again) = build(&keys, BITS).unwrap();
    assert_eq!(numbers(&again), inos);
}

#[test]
fn no_path_is_given_a_number_that_means_something() {
    const BITS: u32 = 6;
    let hashing_to = |ino| (0..).map(|i| format!("f{i}")).find(|key| natural(key, BITS) == ino).unwrap();
    let keys = [0, 1, 2].map(hashing_to);
    let (_dir, catalog) = build(&keys, BITS).unwrap();
    let inos = numbers(&catalog);
    assert_eq!((inos["/"], inos[&format!("/{}", keys[2])]), (1, 2));
    for key in &keys[..2] {
        assert!(inos[&format!("/{key}")] > 2, "{inos:?}");
    }
}

#[test]
fn a_path_keeps_its_number_when_others_come_and_go() {
    let keys: Vec<String> = (0..200).map(|i| format!("d{}/f{i}", i % 7)).collect();
    let (_a, all) = build(&keys, INO_BITS).unwrap();
    let (_b, some) = build(&keys[50..], INO_BITS).unwrap();
    let all = numbers(&all);
    assert!(numbers(&some).iter().all(|(path, ino)| all[path] == *ino));
    assert_eq!(all["/d3/f3"], natural("/d3/f3", INO_BITS));
    assert_eq!(all["/d3/f3"], ino::inode_number("/d3/f3", "m1", 1), "as a file found newer has it");
}

#[test]
fn more_paths_than_numbers_is_an_error() {
    let keys: Vec<String> = (0..20).map(|i| format!("f{i}")).collect();
    assert!(matches!(build(&keys, 4), Err(CatalogError::InodeCollisions { .. })));
}

#[test]
fn nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let entries = || std::fs::read_dir(dir.path()).unwrap().count();
    let mut builder = Builder::new(dir.path(), config(0)).unwrap();
    for i in 0..50 {
        builder.add(0, Listed { key: &format!("k{i}"), size: 1, mtime_ns: 1, version: "v" }).unwrap();
    }
    assert_eq!(entries(), 0, "temporary files have no name");
    drop(builder);
    assert_eq!(entries(), 0);
    let builder = Builder::new(dir.path(), config(0)).unwrap();
    builder.finish(&dir.path().join("there/c")).expect_err("its directory does not exist");
    assert_eq!(entries(), 0);
    let builder = Builder::new(dir.path(), config(0)).unwrap();
    builder.finish(&dir.path().join("c")).unwrap();
    assert_eq!(entries(), 1, "the catalog alone");
}

#[test]
fn sweep_removes_what_a_killed_build_left() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".catalog-abc.tmp", ".catalog-x.tmp", "7.catalog", ".catalog-keep", "x.tmp"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    assert_eq!(crate::sweep(dir.path()).unwrap(), 2);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    assert_eq!(crate::sweep(dir.path()).unwrap(), 0);
    crate::sweep(&dir.path().join("none")).expect_err("no such directory");
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let new = |mounts: Vec<MountSpec>| Builder::new(dir.path(), BuilderConfig { mounts, ..config(0) }).map(drop);
    let long = format!("/{}", "x".repeat(256));
    let deep = "/x".repeat(1000);
    for (path, says) in [
        ("", "starts with '/'"),
        ("a", "starts with '/'"),
        ("/a/", "no empty segments"),
        ("//a", "no empty segments"),
        ("/a/./b", "'.' or '..'"),
        ("/..", "'.' or '..'"),
        ("/a\0", "NUL"),
        (&long, "255 bytes"),
        (&deep, "1,920 bytes"),
    ] {
        let error = new(vec![MountSpec::new(path, "mem://x")]).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&format!("{path:?}")), "{error}");
    }
    let twice = ["/a", "/", "/a"].map(|p| MountSpec::new(p, "mem://x")).to_vec();
    assert!(new(twice).unwrap_err().to_string().contains("two mounts have this path"));
    let mut bad = MountSpec::new("/a", "mem://x");
    bad.exclude = vec!["ok/**".into(), "a[".into()];
    let error = new(vec![bad]).unwrap_err().to_string();
    assert!(error.contains("\"/a\"") && error.contains("\"a[\""), "{error}");

    let mut builder = Builder::new(dir.path(), config(0)).unwrap();
    let error = builder.add(1, Listed { key: "k", size: 0, mtime_ns: 0, version: "" }).unwrap_err();
    assert_eq!(error.to_string(), "mount number 1 does not exist; the dataset has 1 mounts");
    let error = Builder::new(&dir.path().join("none"), config(0)).and_then(|b| b.finish(&dir.path().join("c")));
    assert!(error.unwrap_err().to_string().contains("check free space and permissions"));
}
