//! The file format is an agreement between versions and nodes. A catalog written by the first version is kept here;
//! it must open, and be written again byte for byte. A change of the format takes a new format number, a new file
//! beside this one, and what becomes of old ones.

use std::path::PathBuf;

use forebay_catalog::{Catalog, Fate, MountSpec};

use crate::support::{Object, build, object};

fn golden() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "main", "golden-v1.catalog"].iter().collect()
}

fn input() -> (Vec<MountSpec>, Vec<Object>) {
    let mut data = MountSpec::new("/", "s3://obs.example/imagenet/train");
    data.exclude = vec!["**/*.tmp".into()];
    let mounts = vec![data, MountSpec::new("/labels", "https://files.example/labels"), MountSpec::new("/z/y", "file:///z")];
    let mut objects: Vec<Object> = (0..40).map(|i| object(0, &format!("n{}/img_{i:03}.jpg", i % 4))).collect();
    for (i, o) in objects.iter_mut().enumerate() {
        o.size = 1000 + i as u64;
        o.mtime_ns = 1_700_000_000_000_000_000 + i64::try_from(i).unwrap();
        o.version = match i % 4 {
            0 => format!("e\"{:032x}\"", i * 77),
            1 => format!("e\"{:032x}-{i}\"", i * 77),
            2 => format!("m{}", o.mtime_ns),
            _ => format!("eW/\"{i}\""),
        };
    }
    objects.extend(["n1//extra.jpg", "n1", "a/../b", "empty/", "labels/old", "x.tmp", "日本/ファイル"].map(|k| object(0, k)));
    objects[43].size = 0;
    objects.extend(["train.csv", "val.csv"].map(|k| object(1, k)));
    (mounts, objects)
}

#[test]
fn the_first_format_is_written_byte_for_byte() {
    let (mounts, objects) = input();
    let (dir, _) = build(mounts, &objects, 1 << 20);
    let written = std::fs::read(dir.path().join("catalog")).unwrap();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden(), &written).unwrap();
    }
    let kept = std::fs::read(golden()).unwrap();
    assert!(written == kept, "the format changed: see the head of this file");
}

#[test]
fn the_first_format_is_read() {
    let catalog = Catalog::open(golden()).unwrap();
    catalog.verify().unwrap();
    let (mounts, objects) = input();
    let info = catalog.info();
    assert_eq!((info.dataset.as_str(), info.generation, info.listed_at_ns), ("ns/data", 4, 1_000_000));
    assert_eq!((info.files, info.directories, info.bytes), (44, 10, 40 * 1000 + 780 + 4 * 3));
    assert_eq!(info.mounts, mounts);
    assert_eq!(info.totals.iter().map(|t| t.files).collect::<Vec<_>>(), [42, 2, 0]);
    for o in &objects[..40] {
        let entry = catalog.by_path(&o.key).unwrap();
        assert_eq!((entry.size(), entry.mtime_ns(), &*entry.version()), (o.size, o.mtime_ns, o.version.as_str()));
        assert_eq!((entry.key(), entry.mount()), (o.key.as_str().into(), 0));
    }
    assert_eq!(catalog.by_path("/n1/extra.jpg").unwrap().key(), "n1//extra.jpg");
    assert_eq!(catalog.by_path("/labels/val.csv").unwrap().key(), "val.csv");
    assert_eq!(catalog.by_path("/日本/ファイル").unwrap().ino(), 1_094_225_495_515_255_095);
    assert_eq!(catalog.by_path("/labels").unwrap().ino(), 1_598_999_254_910_857_763);
    for (fate, count) in [
        (Fate::Shown, 43),
        (Fate::Collapsed, 1),
        (Fate::FileAndPrefix, 1),
        (Fate::DotSegment, 1),
        (Fate::Marker, 1),
        (Fate::Shadowed, 1),
        (Fate::Excluded, 1),
    ] {
        assert_eq!(catalog.report().count(fate), count, "{fate:?}");
    }
}
