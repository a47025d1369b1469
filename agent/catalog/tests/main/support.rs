use forebay_catalog::{Builder, BuilderConfig, Catalog, Listed, MountSpec};
use tempfile::TempDir;

/// The listing time of every catalog here.
pub(crate) const LISTED_AT: i64 = 1_000_000;

/// A listed object that owns its strings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) mount: u16,
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) version: String,
}

pub(crate) fn object(mount: u16, key: &str) -> Object {
    Object { mount, key: key.to_owned(), size: 3, mtime_ns: 7, version: "e\"00ff\"".to_owned() }
}

pub(crate) fn config(mounts: Vec<MountSpec>, memory: usize) -> BuilderConfig {
    BuilderConfig { dataset: "ns/data".to_owned(), generation: 4, listed_at_ns: LISTED_AT, mounts, memory }
}

/// Builds and opens; the directory holds the file `catalog`.
pub(crate) fn build(mounts: Vec<MountSpec>, objects: &[Object], memory: usize) -> (TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = Builder::new(dir.path(), config(mounts, memory)).unwrap();
    for o in objects {
        let listed = Listed { key: &o.key, size: o.size, mtime_ns: o.mtime_ns, version: &o.version };
        builder.add(o.mount, listed).unwrap();
    }
    let catalog = builder.finish(&dir.path().join("catalog")).unwrap();
    catalog.verify().unwrap();
    (dir, catalog)
}
