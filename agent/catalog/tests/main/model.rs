use std::collections::{BTreeMap, BTreeSet, HashSet};

use forebay_catalog::{Catalog, Entry, Fate, Kind, MAX_SAMPLES, NO_MOUNT};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::reference::{Mount, PATTERNS, Path, Reference, reference};
use crate::support::{Object, build};

fn mounts() -> impl Strategy<Value = Vec<Mount>> {
    let paths = subsequence(vec!["/", "/a", "/a/b", "/a/b.b/c", "/m/n", "/ü"], 1..=6).prop_shuffle();
    let patterns = || prop_oneof![3 => Just(vec![]), 1 => subsequence(PATTERNS.to_vec(), 1..3)];
    paths.prop_flat_map(move |paths| {
        let each = paths.into_iter().map(|path| (Just(path), patterns(), patterns()));
        each.collect::<Vec<_>>().prop_map(|mounts| {
            let mount = |(path, include, exclude): (&str, _, _)| Mount { path: path.to_owned(), include, exclude };
            mounts.into_iter().map(mount).collect()
        })
    })
}

fn key() -> impl Strategy<Value = String> {
    let common = select(vec!["a", "b", "c", "a b", "a.b", "b.b", "A", "m", "n", "ü", "日本", "back\\slash", "tab\t\n"]);
    let odd = select(vec!["", "", "", ".", "..", "nul\0"]).prop_map(str::to_owned);
    let long = select(vec![255usize, 256]).prop_map(|n| "x".repeat(n));
    let segment = prop_oneof![30 => common.prop_map(str::to_owned), 3 => odd, 1 => long];
    let deep = (1usize..16).prop_map(|n| vec!["y".repeat(255); n].join("/"));
    prop_oneof![40 => prop::collection::vec(segment, 0..5).prop_map(|s| s.join("/")), 1 => deep]
}

fn object(mounts: usize) -> impl Strategy<Value = Object> {
    let version = select(vec!["e\"00ff\"", "e\"00fe-3\"", "m1", "m2", "m-1", "W/x", ""]).prop_map(str::to_owned);
    let mount = (0..mounts).prop_map(|m| u16::try_from(m).unwrap());
    let slash = prop_oneof![5 => Just(""), 1 => Just("/")];
    (mount, key(), slash, 0u64..3, -2i64..4, version).prop_map(|(mount, key, slash, size, mtime_ns, version)| Object {
        mount,
        key: key + slash,
        size,
        mtime_ns,
        version,
    })
}

fn case() -> impl Strategy<Value = (Vec<Mount>, Vec<Object>, Vec<Object>)> {
    mounts().prop_flat_map(|mounts| {
        let objects = prop::collection::vec(object(mounts.len()), 0..60);
        // Some objects come twice, as pages of a listing that changes do.
        let objects = objects.prop_flat_map(|objects| {
            let again = subsequence(objects.clone(), 0..=objects.len().min(5));
            (Just(objects), again).prop_map(|(mut objects, again)| {
                objects.extend(again);
                objects
            })
        });
        objects.prop_flat_map(move |objects| (Just(mounts.clone()), Just(objects.clone()), Just(objects).prop_shuffle()))
    })
}

fn spell(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_catalog_is_the_reference_tree((mounts, objects, shuffled) in case(), tiny in 0usize..4096) {
        let specs = || mounts.iter().map(Mount::spec).collect::<Vec<_>>();
        let (dir, catalog) = build(specs(), &objects, 8 << 20);
        let expected = reference(&mounts, &objects);
        check_tree(&catalog, &mounts, &expected);
        check_numbers(&catalog);
        check_report(&catalog, &expected);

        let (other, _) = build(specs(), &shuffled, tiny);
        let bytes = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("catalog")).unwrap();
        prop_assert!(bytes(&dir) == bytes(&other), "order or memory changed the file");
    }
}

fn check_tree(catalog: &Catalog, mounts: &[Mount], expected: &Reference) {
    let info = catalog.info();
    assert_eq!(info.files, expected.files.len() as u64);
    assert_eq!(info.directories, expected.directories.len() as u64);
    assert_eq!(info.bytes, expected.files.values().map(|f| f.object.size).sum::<u64>());
    for (mount, totals) in (0u16..).zip(&info.totals) {
        let files = || expected.files.values().filter(|f| f.object.mount == mount);
        assert_eq!((totals.files, totals.bytes), (files().count() as u64, files().map(|f| f.object.size).sum()));
    }
    assert_eq!(info.totals.len(), mounts.len());
    assert_eq!(u64::from(catalog.len()), info.files + info.directories);

    let paths: BTreeSet<&Path> = expected.files.keys().chain(expected.directories.keys()).collect();
    for (directory, &mtime) in &expected.directories {
        let entry = catalog.by_path(&spell(directory)).unwrap();
        let names: Vec<&str> = paths
            .iter()
            .filter(|p| p.len() == directory.len() + 1 && p.starts_with(directory))
            .map(|p| p.last().unwrap().as_str())
            .collect();
        let children: Vec<Entry<'_>> = catalog.children(entry.index(), 0).collect();
        assert_eq!(children.iter().map(Entry::name).collect::<Vec<_>>(), names, "{directory:?}");
        for (position, child) in children.iter().enumerate() {
            assert_eq!(child.parent(), entry.index());
            assert!(catalog.lookup(entry.index(), child.name().as_bytes()) == Some(*child));
            let from = u32::try_from(position).unwrap();
            assert!(catalog.children(entry.index(), from).next() == Some(*child));
        }
        for absent in ["", "-", "a!", "zz", "/", "a/b"] {
            assert_eq!(catalog.lookup(entry.index(), absent.as_bytes()).is_some(), names.contains(&absent), "{absent}");
        }
        assert_eq!(entry.child_count() as usize, names.len());
        assert!(catalog.children(entry.index(), entry.child_count()).next().is_none());
        let mut below: Path = directory.clone();
        let is_directory = |name: &&&str| {
            below.push((**name).to_owned());
            let found = expected.directories.contains_key(&below);
            below.pop();
            found
        };
        assert_eq!(entry.subdirectories() as usize, names.iter().filter(is_directory).count());
        assert_eq!((entry.kind(), entry.size(), entry.mtime_ns()), (Kind::Dir, 0, mtime), "{directory:?}");
        let owner = mounts.iter().enumerate().filter(|(_, m)| {
            spell(directory) == m.path || m.path == "/" || spell(directory).starts_with(&format!("{}/", m.path))
        });
        let owner = owner.max_by_key(|(_, m)| m.path.len()).map_or(NO_MOUNT, |(i, _)| u16::try_from(i).unwrap());
        assert_eq!(entry.mount(), owner, "{directory:?}");

        let walked: Vec<String> = catalog.walk(&spell(directory)).map(|e| e.path()).collect();
        let files = expected.files.keys().filter(|p| p.starts_with(directory)).map(|p| spell(p));
        assert_eq!(walked, files.collect::<Vec<_>>(), "{directory:?}");
    }
    for (path, file) in &expected.files {
        let entry = catalog.by_path(&spell(path)).unwrap();
        assert_eq!(entry.path(), spell(path));
        assert_eq!((entry.kind(), entry.subdirectories(), entry.child_count()), (Kind::File, 0, 0));
        assert_eq!((entry.size(), entry.mtime_ns()), (file.object.size, file.object.mtime_ns));
        assert_eq!((entry.mount(), &*entry.key()), (file.object.mount, &*file.object.key));
        assert!(file.versions.contains(&*entry.version()), "{:?} {:?}", file, entry.version());
        assert_eq!(catalog.children(entry.index(), 0).count(), 0);
        assert!(catalog.lookup(entry.index(), b"a").is_none());
        assert_eq!(catalog.walk(&spell(path)).map(|e| e.path()).collect::<Vec<_>>(), [spell(path)]);
    }
}

fn check_numbers(catalog: &Catalog) {
    assert_eq!((catalog.root().ino(), catalog.root().index(), catalog.root().parent()), (1, 0, 0));
    let mut seen = HashSet::new();
    for index in 0..catalog.len() {
        let entry = catalog.entry(index).unwrap();
        assert_eq!(entry.index(), index);
        assert!(seen.insert(entry.ino()) && entry.ino() > 0 && entry.ino() < 1 << 63);
        assert!(catalog.by_ino(entry.ino()) == Some(entry));
        assert!(catalog.by_ino(entry.ino() ^ 1 << 63).is_none());
        assert!(catalog.by_path(&entry.path()) == Some(entry));
    }
    assert!(catalog.entry(catalog.len()).is_none() && catalog.entry(u32::MAX).is_none());
    assert!(catalog.by_ino(0).is_none() && catalog.by_ino(u64::MAX).is_none());
}

/// Mount, key and path.
type SampleKey<'a> = (u16, &'a str, Option<String>);

fn check_report(catalog: &Catalog, expected: &Reference) {
    let report = catalog.report();
    let mut counts: BTreeMap<Fate, u64> = BTreeMap::new();
    let mut samples: BTreeMap<Fate, BTreeSet<SampleKey<'_>>> = BTreeMap::new();
    for (fate, object, path) in &expected.fates {
        // Of versions that tie, which is shown and which is superseded or repeated is not said: one group.
        *counts.entry(if *fate == Fate::Repeated { Fate::Superseded } else { *fate }).or_default() += 1;
        if fate.is_sampled() && *fate != Fate::Superseded {
            samples.entry(*fate).or_default().insert((object.mount, &object.key, path.as_ref().map(|p| spell(p))));
        }
    }
    let mut found = report.counts.clone();
    let repeated = found.remove(&Fate::Repeated).unwrap_or(0);
    if repeated > 0 {
        *found.entry(Fate::Superseded).or_default() += repeated;
    }
    assert_eq!(found, counts);
    assert_eq!(report.listed(), expected.fates.len() as u64, "no object is dropped in silence");
    for fate in Fate::ALL.into_iter().filter(|f| *f != Fate::Superseded) {
        let kept = report.sample.iter().filter(|s| s.fate == fate);
        let kept: Vec<_> = kept.map(|s| (s.mount, s.key.as_str(), s.path.clone())).collect();
        let wanted: Vec<_> = samples.remove(&fate).unwrap_or_default().into_iter().take(MAX_SAMPLES).collect();
        assert_eq!(kept, wanted, "{fate:?}");
    }
    assert!(report.sample.iter().all(|s| s.reason == s.fate.reason()));
}
