//! Damaged and hostile files: an error or missing entries, never a panic, an endless loop or a stray read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::layout::{Extent, Record, RecordKind, SECTIONS};
use crate::{Builder, BuilderConfig, Listed};

fn sample() -> (TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let mounts = vec![MountSpec::new("/", "mem://x"), MountSpec::new("/labels", "mem://y")];
    let config = BuilderConfig { dataset: "d".into(), generation: 1, listed_at_ns: 5, mounts, memory: 1 << 20 };
    let mut builder = Builder::new(dir.path(), config).unwrap();
    for i in 0..60 {
        let key = format!("d{}/e{}//f{i}", i % 5, i % 3);
        builder.add(0, Listed { key: &key, size: 1, mtime_ns: 1, version: "e\"0011-4\"" }).unwrap();
        builder.add(1, Listed { key: &format!("g{i}"), size: 2, mtime_ns: 3, version: "x" }).unwrap();
    }
    builder.add(0, Listed { key: "zz/ééé", size: 2, mtime_ns: 3, version: "ééé" }).unwrap();
    let path = dir.path().join("c");
    builder.finish(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (dir, path, bytes)
}

/// Calls everything there is; returns the number of entries met, which a sound catalog bounds by its length.
fn exercise(catalog: &Catalog) -> usize {
    let mut met = 0;
    let look = |entry: Entry<'_>| {
        let _ = (entry.ino(), entry.parent(), entry.name().len(), entry.kind(), entry.size(), entry.mtime_ns());
        let _ = (entry.mount(), entry.key().len(), entry.version().len(), entry.subdirectories(), entry.child_count());
        assert!(entry.child_count() <= catalog.len());
        let _ = (catalog.by_path(&entry.path()), catalog.by_ino(entry.ino()), format!("{entry:?}"));
    };
    look(catalog.root());
    for index in (0..catalog.len()).chain([catalog.len(), u32::MAX]) {
        if let Some(entry) = catalog.entry(index) {
            look(entry);
        }
        for from in [0, 1, u32::MAX] {
            met += catalog.children(index, from).map(look).count();
        }
        for name in ["", "d1", "f7", "labels", "zzz"] {
            let _ = catalog.lookup(index, name.as_bytes()).map(look);
        }
    }
    for ino in [0, 1, 77, u64::MAX / 2, u64::MAX] {
        let _ = catalog.by_ino(ino).map(look);
    }
    for path in ["/", "d1", "/labels/"] {
        let walked = catalog.walk(path).map(look).count();
        assert!(walked <= catalog.len() as usize, "an entry was walked twice");
        met += walked;
    }
    let _ = (catalog.info(), catalog.report(), format!("{catalog:?}"), catalog.is_empty(), catalog.file_len());
    met
}

fn check(path: &Path, bytes: &[u8]) -> Result<(), CatalogError> {
    std::fs::write(path, bytes).unwrap();
    let catalog = Catalog::open(path)?;
    exercise(&catalog);
    catalog.verify()
}

fn header(bytes: &[u8]) -> Header {
    Header::decode(bytes, bytes.len() as u64).unwrap()
}

/// Makes every checksum right again, as somebody who means harm would.
fn forge(bytes: &mut [u8]) {
    let mut header = header(bytes);
    for extent in &mut header.sections {
        let start = usize::try_from(extent.offset).unwrap();
        extent.crc = crc32c::crc32c(&bytes[start..start + usize::try_from(extent.len).unwrap()]);
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
}

#[test]
fn a_sound_file_is_sound() {
    let (_dir, path, bytes) = sample();
    check(&path, &bytes).unwrap();
    assert!(exercise(&Catalog::open(&path).unwrap()) > 120);
}

#[test]
fn entries_are_equal_in_clones_and_differ_between_files() {
    let (_dir, path, _) = sample();
    let (first, second) = (Catalog::open(&path).unwrap(), Catalog::open(&path).unwrap());
    assert_eq!(first.entry(3), first.clone().entry(3));
    assert_ne!(first.entry(3), first.entry(4));
    assert_ne!(first.entry(3), second.entry(3));
}

#[test]
fn a_removed_or_replaced_file_serves_those_who_opened_it() {
    let (_dir, path, bytes) = sample();
    let catalog = Catalog::open(&path).unwrap();
    std::fs::write(path.with_extension("new"), b"something else").unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    std::fs::remove_file(&path).unwrap();
    catalog.verify().unwrap();
    assert_eq!(catalog.file_len(), bytes.len() as u64);
    assert!(exercise(&catalog) > 120);
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let (_dir, path, bytes) = sample();
    for len in (0..bytes.len()).step_by(97).chain([0, 1, 4095, 4096, bytes.len() - 1]) {
        assert!(matches!(check(&path, &bytes[..len]), Err(CatalogError::Damaged { .. })), "{len}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(check(&path, &longer), Err(CatalogError::Damaged { .. })));
}

#[test]
fn every_flipped_bit_that_counts_is_found() {
    let (_dir, path, bytes) = sample();
    let used = 32 + SECTIONS * 24 + 4;
    for at in (0..used).chain((HEADER_LEN..bytes.len()).step_by(31)) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(check(&path, &bytes).is_err(), "byte {at}");
    }
}

#[test]
fn another_format_is_named() {
    let (_dir, path, mut bytes) = sample();
    bytes[16] = 9;
    let error = check(&path, &bytes).unwrap_err();
    assert!(matches!(error, CatalogError::Format { found: 9, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("delete it and the dataset is listed again"));
    let error = Catalog::open(path.with_extension("none")).unwrap_err();
    assert!(matches!(error, CatalogError::Io { .. }) && error.to_string().contains("c.none"), "{error}");
}

#[test]
fn a_deceitful_header_is_refused() {
    let (_dir, path, bytes) = sample();
    let good = header(&bytes);
    let refuse = |change: &dyn Fn(&mut Header)| {
        let (mut header, mut bytes) = (good.clone(), bytes.clone());
        change(&mut header);
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Catalog::open(&path), Err(CatalogError::Damaged { .. })), "{header:?}");
    };
    refuse(&|h| h.entries = 0);
    refuse(&|h| h.entries += 1);
    refuse(&|h| h.entries = u32::MAX);
    refuse(&|h| {
        h.entries = 0;
        [(0, 0), (1, 8), (2, 0)].into_iter().for_each(|(section, len)| h.sections[section].len = len);
    });
    refuse(&|h| h.file_len -= 1);
    for section in 0..SECTIONS {
        refuse(&|h| h.sections[section].offset = u64::MAX);
        refuse(&|h| h.sections[section].len = u64::MAX);
        refuse(&|h| h.sections[section] = Extent { offset: u64::MAX - 3, len: 8, crc: 0 });
        refuse(&|h| h.sections[section].offset = 0);
    }
    refuse(&|h| h.sections[Section::Meta as usize].len = 0);
    refuse(&|h| h.sections[Section::Meta as usize] = h.sections[Section::Heap as usize]);
}

type Deceit<'a> = &'a dyn Fn(u32, &mut Record);

/// Directories that hold each other, and themselves, with all checksums right.
#[test]
fn a_file_made_to_deceive_ends() {
    let (_dir, path, bytes) = sample();
    let entries = header(&bytes).entries;
    let records = HEADER_LEN..HEADER_LEN + entries as usize * RECORD_LEN;
    let heap = header(&bytes).section(Section::Heap).len;
    let deceits: [Deceit<'_>; 8] = [
        &|index, r| r.kind = RecordKind::Directory { first: index, count: entries - index, subdirectories: 1 },
        &|index, r| r.kind = RecordKind::Directory { first: index + 1, count: entries - index - 1, subdirectories: 1 },
        &|_, r| r.kind = RecordKind::Directory { first: 0, count: entries, subdirectories: u32::MAX },
        &|index, r| r.kind = RecordKind::Directory { first: index + 1, count: u32::MAX - index - 1, subdirectories: 1 },
        &|index, r| r.parent = index,
        &|_, r| r.parent = entries - 1,
        &|_, r| (r.heap, r.name_len) = (u64::MAX - 10, 255),
        // The root gets the last name that was written, a parent some name of several bytes a letter.
        &|index, r| (r.heap, r.name_len) = (heap - 2 * u64::from(index % 3 + 1), 2),
    ];
    for deceit in deceits {
        let mut bytes = bytes.clone();
        for (index, record) in bytes[records.clone()].as_chunks_mut::<RECORD_LEN>().0.iter_mut().enumerate() {
            let mut changed = Record::decode(record);
            deceit(u32::try_from(index).unwrap(), &mut changed);
            *record = changed.encode();
        }
        forge(&mut bytes);
        check(&path, &bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn random_damage_with_right_checksums_does_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        blank in prop::option::of((any::<prop::sample::Index>(), 1usize..300, any::<u8>())),
    ) {
        let (_dir, path, mut bytes) = sample();
        let body = bytes.len() - HEADER_LEN;
        for (at, with) in flips {
            bytes[HEADER_LEN + at.index(body)] ^= with;
        }
        if let Some((at, len, with)) = blank {
            let start = HEADER_LEN + at.index(body);
            let end = (start + len).min(bytes.len());
            bytes[start..end].fill(with);
        }
        forge(&mut bytes);
        // Only the description may be refused; the rest is for every access to survive.
        if let Err(error) = check(&path, &bytes) {
            prop_assert!(error.to_string().contains("description"), "{}", error);
        }
    }

    #[test]
    fn random_bytes_are_no_catalog(bytes in prop::collection::vec(any::<u8>(), 0..6000), magic: bool) {
        let (_dir, path, good) = sample();
        let mut bytes = bytes;
        if magic && bytes.len() > HEADER_LEN {
            bytes[..24].copy_from_slice(&good[..24]);
        }
        prop_assert!(check(&path, &bytes).is_err());
    }
}
