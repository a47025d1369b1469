//! `docs/semantics.md`, "Names, overlapping mounts and the fates of keys": a test for each paragraph, by number.

use std::collections::BTreeSet;

use forebay_catalog::{Builder, Catalog, Fate, Listed, MountSpec};
use tempfile::TempDir;

use crate::support::{LISTED_AT, Object, build, config, object};

fn mounts(paths: &[&str]) -> Vec<MountSpec> {
    paths.iter().map(|path| MountSpec::new(*path, "mem://x")).collect()
}

fn patterns(include: &[&str], exclude: &[&str]) -> Vec<MountSpec> {
    let texts = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
    vec![MountSpec { include: texts(include), exclude: texts(exclude), ..MountSpec::new("/", "mem://x") }]
}

fn marker(mount: u16, key: &str) -> Object {
    Object { size: 0, ..object(mount, key) }
}

fn of(mounts: Vec<MountSpec>, objects: &[Object]) -> (TempDir, Catalog) {
    build(mounts, objects, 1 << 20)
}

fn keys(mounts: Vec<MountSpec>, keys: &[&str]) -> (TempDir, Catalog) {
    of(mounts, &keys.iter().map(|key| object(0, key)).collect::<Vec<_>>())
}

/// Every path below the root; directories end with a slash.
fn tree(catalog: &Catalog) -> Vec<String> {
    let entries = (1..catalog.len()).map(|i| catalog.entry(i).unwrap());
    let mut paths: Vec<String> = entries.map(|e| e.path() + if e.is_dir() { "/" } else { "" }).collect();
    paths.sort();
    paths
}

/// Key and path of the reported objects with `fate`.
fn reported(catalog: &Catalog, fate: Fate) -> Vec<(&str, Option<&str>)> {
    let samples: Vec<_> = catalog.report().sample.iter().filter(|s| s.fate == fate).collect();
    assert!(samples.iter().all(|s| s.reason == fate.reason()));
    samples.iter().map(|s| (s.key.as_str(), s.path.as_deref())).collect()
}

#[test]
fn n01_path_is_mount_and_key() {
    let (_d, c) = keys(mounts(&["/labels"]), &["a/b.jpg"]);
    assert_eq!(tree(&c), ["/labels/", "/labels/a/", "/labels/a/b.jpg"]);
    assert_eq!(c.by_path("/labels/a/b.jpg").unwrap().key(), "a/b.jpg");
}

#[test]
fn n02_every_name_of_linux_is_legal() {
    let names = ["\u{1}\t\n", " ", "-", "...", ".hidden", "A", "a", "a\\b", "e\u{301}", "~", "é", "日本"];
    let (_d, c) = keys(mounts(&["/"]), &names);
    assert_eq!(c.children(0, 0).map(|e| e.name().to_owned()).collect::<Vec<_>>(), names);
    assert_eq!(c.report().count(Fate::Shown), 12);
}

#[test]
fn n03_the_deeper_mount_owns_its_path() {
    let objects = [object(0, "labels/old"), object(0, "labels"), object(0, "labels2"), object(1, "new")];
    let (_d, c) = of(mounts(&["/", "/labels"]), &objects);
    assert_eq!(tree(&c), ["/labels/", "/labels/new", "/labels2"]);
    assert_eq!(c.by_path("/labels/new").unwrap().mount(), 1);
    let shadowed = [("labels", Some("/labels")), ("labels/old", Some("/labels/old"))];
    assert_eq!(reported(&c, Fate::Shadowed), shadowed);
    assert_eq!(c.report().rejected(), 2);
}

#[test]
fn n04_mount_points_are_directories() {
    let (_d, c) = of(mounts(&["/a/b/c", "/d"]), &[]);
    assert_eq!(tree(&c), ["/a/", "/a/b/", "/a/b/c/", "/d/"]);
}

#[test]
fn n05_mount_paths_are_normalised_and_distinct() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |mounts| Builder::new(dir.path(), config(mounts, 0)).unwrap_err().to_string();
    for path in ["", "a", "/a/", "/a//b", "/./a", "/a/.."] {
        assert!(refuse(mounts(&["/", path])).contains(&format!("{path:?}")));
    }
    assert!(refuse(mounts(&["/a", "/", "/a"])).contains("\"/a\": two mounts have this path"));
    assert!(refuse(patterns(&["{"], &[])).contains("\"/\": pattern \"{\""));
}

#[test]
fn n06_no_path_has_two_owners() {
    // Every mount holds every path; each path comes from the deepest mount above it, and from no other.
    let roots = ["/", "/a", "/a/b", "/ab"];
    let paths = ["a/b/c", "a/c", "ab/c", "c", "a/bc", "abc"];
    let below = |root: &str, path: &str| {
        let root = &root[1..];
        if root.is_empty() { Some(path.to_owned()) } else { path.strip_prefix(&format!("{root}/")).map(str::to_owned) }
    };
    let each = (0u16..).zip(roots).flat_map(|(m, root)| paths.map(|p| below(root, p).map(|key| object(m, &key))));
    let objects: Vec<Object> = each.flatten().collect();
    let (_d, c) = of(mounts(&roots), &objects);
    let owners = paths.map(|path| c.by_path(path).unwrap().mount());
    assert_eq!(owners, [2, 1, 3, 0, 1, 0]);
    assert_eq!(c.report().count(Fate::Shown), 6);
    assert_eq!(c.report().count(Fate::Shadowed) as usize, objects.len() - 6);
}

#[test]
fn n07_patterns() {
    let taken = |pattern: &str, key: &str| keys(patterns(&[pattern], &[]), &[key]).1.info().files == 1;
    for (pattern, yes, no) in [
        ("*.jpg", "a.jpg", "d/a.jpg"),
        ("**/*.jpg", "a.jpg", "a.jpeg"),
        ("**/*.jpg", "d/e/a.jpg", "d/a.JPG"),
        ("d/**", "d/e/f", "d"),
        ("d/**/f", "d/f", "d/f/g"),
        ("a?c", "abc", "a/c"),
        ("a?c", "a c", "aüc"),
        ("[a-c]x", "bx", "dx"),
        ("*.{jpg,png}", "a.png", "a.gif"),
        (r"a\*", "a*", "ab"),
        ("/d/*", "d/a", "e/d/a"),
    ] {
        assert!(taken(pattern, yes), "{pattern} {yes}");
        assert!(!taken(pattern, no), "{pattern} {no}");
    }
    let mut spec = mounts(&["/m"]);
    spec[0].include = vec!["a/*".into()];
    assert_eq!(tree(&keys(spec, &["a/b", "m/a/b"]).1), ["/m/", "/m/a/", "/m/a/b"], "relative to the mount");
}

#[test]
fn n08_exclude_wins_and_is_no_problem() {
    let (_d, c) = keys(patterns(&["**/*.jpg"], &["tmp/**"]), &["a.jpg", "b.txt", "tmp/c.jpg", "other/c.txt"]);
    assert_eq!(tree(&c), ["/a.jpg"]);
    assert_eq!((c.report().count(Fate::Excluded), c.report().rejected()), (3, 0));
    assert!(c.report().sample.is_empty());
}

#[test]
fn n09_excluding_is_a_remedy_for_everything() {
    let long = "x".repeat(5000);
    let bad = ["bad/../a", "bad/\0", "bad/x//y", "bad", "bad/file/", &format!("bad/{}", &long[..300]), &format!("bad/{long}")];
    let (_d, c) = keys(patterns(&[], &["bad/**", "bad"]), &bad);
    assert_eq!(tree(&c), Vec::<String>::new());
    assert_eq!(c.report().count(Fate::Excluded), 7);

    let (_d, c) = of(patterns(&[], &["tmp/**", "x"]), &[marker(0, "tmp/"), object(0, "/x")]);
    assert_eq!(tree(&c), Vec::<String>::new());
    assert_eq!(c.report().count(Fate::Excluded), 2);
}

#[test]
fn n10_marker() {
    let (_d, c) = of(mounts(&["/m"]), &[marker(0, "empty/"), marker(0, "a/b/"), object(0, "a/b/c"), marker(0, "")]);
    assert_eq!(tree(&c), ["/m/", "/m/a/", "/m/a/b/", "/m/a/b/c", "/m/empty/"]);
    assert_eq!((c.report().count(Fate::Marker), c.report().rejected()), (3, 0));
}

#[test]
fn n11_marker_with_bytes() {
    let (_d, c) = keys(mounts(&["/"]), &["d/", "e/f/"]);
    assert_eq!(tree(&c), ["/d/", "/e/", "/e/f/"]);
    assert_eq!(reported(&c, Fate::MarkerWithBytes), [("d/", Some("/d")), ("e/f/", Some("/e/f"))]);
    assert!(Fate::MarkerWithBytes.reason().contains("rename the object"));
    assert_eq!((c.info().bytes, c.report().rejected()), (0, 2));
}

#[test]
fn n12_file_and_prefix() {
    let (_d, c) = of(mounts(&["/"]), &[object(0, "a"), object(0, "a/b"), object(0, "m"), marker(0, "m/")]);
    assert_eq!(tree(&c), ["/a/", "/a/b", "/m/"]);
    assert_eq!(reported(&c, Fate::FileAndPrefix), [("a", Some("/a")), ("m", Some("/m"))]);
    assert!(Fate::FileAndPrefix.reason().contains("rename the object or exclude it"));
    let (_d, c) = keys(patterns(&[], &["a/**"]), &["a", "a/b"]);
    assert_eq!(tree(&c), ["/a"], "with the other excluded");
}

#[test]
fn n13_file_on_the_way_to_a_mount() {
    let (_d, c) = of(mounts(&["/", "/a/b"]), &[object(0, "a"), object(1, "x")]);
    assert_eq!(tree(&c), ["/a/", "/a/b/", "/a/b/x"]);
    assert_eq!(reported(&c, Fate::FileAndPrefix), [("a", Some("/a"))]);
}

#[test]
fn n14_empty_segments_are_left_out() {
    let (_d, c) = keys(mounts(&["/"]), &["a//b", "/c", "//d///e"]);
    assert_eq!(tree(&c), ["/a/", "/a/b", "/c", "/d/", "/d/e"]);
    for (path, key) in [("/a/b", "a//b"), ("/c", "/c"), ("/d/e", "//d///e")] {
        assert_eq!(c.by_path(path).unwrap().key(), key);
    }
    assert_eq!(reported(&c, Fate::Collapsed), [("//d///e", Some("/d/e")), ("/c", Some("/c")), ("a//b", Some("/a/b"))]);
    let (_d, c) = of(mounts(&["/"]), &[marker(0, "a//"), marker(0, "//")]);
    assert_eq!((tree(&c), c.report().count(Fate::Marker)), (vec!["/a/".to_owned()], 2));
}

#[test]
fn n15_ambiguous_keys() {
    let newer = Object { mtime_ns: 99, ..object(0, "a//b") };
    let (_d, c) = of(mounts(&["/"]), &[newer, object(0, "a/b"), object(0, "x//y"), object(0, "/x/y")]);
    assert_eq!(tree(&c), ["/a/", "/a/b", "/x/", "/x/y"]);
    assert_eq!(c.by_path("a/b").unwrap().key(), "a/b");
    assert_eq!(c.by_path("x/y").unwrap().key(), "/x/y");
    assert_eq!(reported(&c, Fate::Ambiguous), [("a//b", Some("/a/b")), ("x//y", Some("/x/y"))]);
}

#[test]
fn n16_dot_segments() {
    let (_d, c) = keys(mounts(&["/", "/m"]), &["a/./b", "../m/x", "..", ".", "a/b/.."]);
    assert_eq!(tree(&c), ["/m/"]);
    assert_eq!(reported(&c, Fate::DotSegment).len(), 5);
    assert!(reported(&c, Fate::DotSegment).iter().all(|(_, path)| path.is_none()));
}

#[test]
fn n17_nul() {
    let (_d, c) = keys(mounts(&["/"]), &["a\0b/c"]);
    assert_eq!((tree(&c).len(), reported(&c, Fate::Nul)), (0, vec![("a\0b/c", None)]));
}

#[test]
fn n18_long_names() {
    let (fits, long, multibyte) = ("x".repeat(255), "x".repeat(256), "ü".repeat(128));
    let (_d, c) = keys(mounts(&["/"]), &[&fits, &format!("a/{long}"), &multibyte]);
    assert_eq!(tree(&c), [format!("/{fits}")]);
    assert_eq!(c.report().count(Fate::NameTooLong), 2);
}

#[test]
fn n19_long_paths() {
    let path = |len: usize| "abcdefg/".repeat(len / 8) + &"x".repeat(len % 8);
    let (_d, c) = keys(mounts(&["/m"]), &[&path(3838), &(path(3838) + "x")]);
    assert_eq!((c.info().files, c.report().count(Fate::PathTooLong)), (1, 1), "the mount's path counts");
    assert_eq!(c.walk("/").next().unwrap().path().len(), 1 + 3840);
    let spread = |len: usize| "/".repeat(len - 1) + "a";
    let (_d, c) = keys(mounts(&["/"]), &[&spread(4096), &spread(4097)]);
    assert_eq!((tree(&c), c.report().count(Fate::PathTooLong)), (vec!["/a".to_owned()], 1));
}

#[test]
fn n20_listed_twice() {
    let version = |mtime_ns, size, version: &str| Object { mtime_ns, size, version: version.into(), ..object(0, "a") };
    let objects = [version(2, 5, "old"), version(9, 1, "new"), version(9, 2, "newer"), version(9, 2, "newer")];
    let (_d, c) = of(mounts(&["/"]), &objects);
    let entry = c.by_path("a").unwrap();
    assert_eq!((entry.mtime_ns(), entry.size(), &*entry.version()), (9, 2, "newer"));
    assert_eq!((c.report().count(Fate::Repeated), c.report().count(Fate::Superseded)), (1, 2));
    assert_eq!(reported(&c, Fate::Superseded), [("a", Some("/a"))]);
    assert_eq!((c.info().files, c.info().bytes, c.report().rejected()), (1, 2, 0));
}

#[test]
fn n21_names_that_are_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(dir.path(), config(patterns(&[], &["legacy/**"]), 0)).unwrap();
    builder.reject(0, "caf\u{fffd}", "invalid UTF-8").unwrap();
    builder.reject(0, "legacy/\u{fffd}", "invalid UTF-8").unwrap();
    builder.reject(7, "x", "y").unwrap_err();
    let c = builder.finish(&dir.path().join("c")).unwrap();
    let sample = &c.report().sample[0];
    assert_eq!((sample.key.as_str(), sample.reason.as_str()), ("caf\u{fffd}", "invalid UTF-8"));
    assert_eq!((c.report().count(Fate::Unrepresentable), c.report().count(Fate::Excluded)), (1, 1));
    assert_eq!((c.report().rejected(), tree(&c).len()), (1, 0));
}

#[test]
fn n22_long_versions() {
    let with = |key: &str, len: usize| Object { version: "v".repeat(len), ..object(0, key) };
    let (_d, c) = of(mounts(&["/"]), &[with("fits", 4096), with("long", 4097)]);
    assert_eq!(tree(&c), ["/fits"]);
    assert_eq!(c.by_path("fits").unwrap().version().len(), 4096);
    assert_eq!(reported(&c, Fate::VersionTooLong), [("long", None)]);
}

#[test]
fn n23_times_and_links_of_directories() {
    let at = |key: &str, mtime_ns| Object { mtime_ns, ..object(0, key) };
    let objects = [at("a/x", 5), at("a/b/y", 8), at("a/c/z", 0), at("old/w", -3), Object { size: 0, ..at("e/", 6) }];
    let (_d, c) = of(mounts(&["/"]), &objects);
    let time = |path: &str| c.by_path(path).unwrap().mtime_ns();
    assert_eq!((time("/"), time("a"), time("a/b"), time("old"), time("e")), (8, 8, 8, -3, 6));
    assert_eq!(time("a/c"), LISTED_AT);
    let subdirectories = |path: &str| c.by_path(path).unwrap().subdirectories();
    assert_eq!((subdirectories("/"), subdirectories("a"), subdirectories("a/b")), (3, 2, 0));
}

#[test]
fn n24_inode_numbers() {
    let (_d, c) = keys(mounts(&["/"]), &["a", "b/c"]);
    let (_d, other) = of(mounts(&["/b", "/"]), &[object(0, "c"), object(1, "a"), object(1, "z/z")]);
    for path in ["/", "a", "b", "b/c"] {
        assert_eq!(c.by_path(path).unwrap().ino(), other.by_path(path).unwrap().ino(), "{path}");
    }
    assert_eq!(c.root().ino(), 1);
    assert_eq!(c.by_path("b").unwrap().ino(), other.by_path("/b").unwrap().ino(), "a directory by its path");
    let changed = Object { version: "e\"changed\"".into(), ..object(0, "a") };
    let (_d, newer) = of(mounts(&["/"]), &[changed, object(0, "b/c")]);
    assert_ne!(c.by_path("a").unwrap().ino(), newer.by_path("a").unwrap().ino(), "a changed file is another inode");
    assert_eq!(c.by_path("b/c").unwrap().ino(), newer.by_path("b/c").unwrap().ino());
}

#[test]
fn n25_every_object_has_one_fate() {
    let mut objects: Vec<Object> = (0..100).rev().map(|i| object(0, &format!("x{i:03}/.."))).collect();
    objects.extend(["a", "a/b", "c//d", "e/", "f"].map(|key| object(0, key)));
    let (_d, c) = of(mounts(&["/"]), &objects);
    assert_eq!(c.report().listed(), 105);
    let dots: Vec<String> = reported(&c, Fate::DotSegment).iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(dots, (0..16).map(|i| format!("x{i:03}/..")).collect::<Vec<_>>());
    let files: u64 = Fate::ALL.into_iter().filter(|f| f.is_file()).map(|f| c.report().count(f)).sum();
    assert_eq!(files, c.info().files);
}

#[test]
fn n26_the_order_of_a_listing_does_not_matter() {
    let mut objects: Vec<Object> = (0..500).map(|i| object(0, &format!("d{}/f{i}", i % 17))).collect();
    objects.extend((0..50).map(|i| Object { mtime_ns: i64::from(i), ..object(0, &format!("d{}/f{i}", i % 17)) }));
    let (first, _) = build(mounts(&["/"]), &objects, 8 << 20);
    objects.reverse();
    objects.rotate_left(123);
    let (second, _) = build(mounts(&["/"]), &objects, 0);
    let bytes = |dir: &TempDir| std::fs::read(dir.path().join("catalog")).unwrap();
    assert!(bytes(&first) == bytes(&second));
}

#[test]
fn every_paragraph_has_its_test() {
    let document = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/semantics.md"));
    let paragraphs = document.lines().filter_map(|line| line.strip_prefix("**N")?.split_once("**"));
    let paragraphs: Vec<u32> = paragraphs.map(|(number, _)| number.parse().unwrap()).collect();
    let tests = include_str!("semantics.rs").lines().filter_map(|line| line.strip_prefix("fn n")?.get(..2)?.parse().ok());
    let tests: BTreeSet<u32> = tests.collect();
    assert!(!paragraphs.is_empty());
    assert_eq!(paragraphs, tests.into_iter().collect::<Vec<_>>());
    let section = document.split("\n## ").find(|s| s.starts_with("Names, overlapping mounts")).unwrap();
    for block in section.split("\n\n").skip(2) {
        assert!(block.trim().is_empty() || block.starts_with("**N"), "a paragraph without a number: {block}");
    }
    for fate in Fate::ALL.into_iter().filter(|f| *f != Fate::Shown) {
        assert!(section.contains(&format!("`{}`", fate.as_str())), "{fate:?} is not documented");
        assert_eq!(serde_json::to_value(fate).unwrap(), fate.as_str());
    }
}

#[test]
fn keys_are_read_back_by_the_mount_that_lists_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(dir.path(), config(mounts(&["/a/b"]), 0)).unwrap();
    builder.add(0, Listed { key: "a/b", size: 0, mtime_ns: 0, version: "" }).unwrap();
    let c = builder.finish(&dir.path().join("c")).unwrap();
    assert_eq!(c.by_path("/a/b/a/b").unwrap().key(), "a/b");
}
