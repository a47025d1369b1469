//! Catalogs that come from other nodes.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use forebay_catalog::{Adoption, Catalog, CatalogError, Incoming, MountSpec};

use crate::support::{build, object};

fn adoption() -> Adoption {
    let mounts = vec![MountSpec::new("/", "mem://x"), MountSpec::new("/labels", "mem://y")];
    Adoption { dataset: "ns/data".to_owned(), mounts, generation: 123_456, listed_at_ns: 77 }
}

/// A catalog of generation 4 as another node sends it.
fn sent() -> Vec<u8> {
    let objects: Vec<_> = (0..200).map(|n| object(n % 2, &format!("d{}/f{n}", n % 7))).collect();
    let (_dir, catalog) = build(adoption().mounts, &objects, 1 << 20);
    fs::read(catalog.path()).unwrap()
}

fn take(bytes: &[u8], adoption: Adoption, path: &Path) -> Result<Catalog, CatalogError> {
    let incoming = Incoming::new(path).unwrap();
    incoming.file().unwrap().write_all(bytes).unwrap();
    incoming.adopt(adoption)
}

#[test]
fn it_is_the_same_tree_under_this_nodes_number_and_time() {
    let bytes = sent();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("theirs"), &bytes).unwrap();
    let theirs = Catalog::open(dir.path().join("theirs")).unwrap();
    let ours = take(&bytes, adoption(), &dir.path().join("ours")).unwrap();
    ours.verify().unwrap();
    assert_eq!((ours.info().generation, ours.info().listed_at_ns), (123_456, 77));
    let all = |catalog: &Catalog| {
        let entries = (0..catalog.len()).map(|index| format!("{:?}", catalog.entry(index).unwrap()));
        (entries.collect::<Vec<_>>(), catalog.info().totals.clone(), catalog.report().clone())
    };
    assert_eq!(all(&ours), all(&theirs));
    // And so it goes on to a third, as by the first to the second.
    let again = fs::read(ours.path()).unwrap();
    let third = Adoption { generation: 4, listed_at_ns: theirs.info().listed_at_ns, ..adoption() };
    take(&again, third, &dir.path().join("third")).unwrap();
    assert_eq!(fs::read(dir.path().join("third")).unwrap(), bytes);
}

#[test]
fn what_is_not_whole_or_of_another_tree_leaves_nothing() {
    let bytes = sent();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours");
    let refused = |bytes: &[u8], adoption: Adoption| {
        let error = take(bytes, adoption, &path).unwrap_err();
        assert!(matches!(error, CatalogError::Damaged { .. } | CatalogError::Format { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{error}");
    };
    for len in [0, 1, 4095, 4096, bytes.len() / 2, bytes.len() - 1] {
        refused(&bytes[..len], adoption());
    }
    // What a header says takes its first 156 bytes; zeros follow up to the first section.
    for at in (0..156).step_by(13).chain((4096..bytes.len()).step_by(97)).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        refused(&damaged, adoption());
    }
    refused(&bytes, Adoption { dataset: "ns/other".to_owned(), ..adoption() });
    let mut mounts = adoption().mounts;
    mounts[1].exclude.push("*.tmp".to_owned());
    refused(&bytes, Adoption { mounts, ..adoption() });
    take(&bytes, adoption(), &path).unwrap();
}
