use std::fs;
use std::path::{Path, PathBuf};

use forebay_catalog::{Builder, BuilderConfig, Catalog, Entry, Listed, MountSpec};
use forebay_compose::{Composed, Image, Layers, Look, mount};
use tempfile::TempDir;

pub(crate) const LOOK: Look = Look { uid: 7, gid: 70_000, file_mode: 0o444, dir_mode: 0o555 };
pub(crate) const MTIME_NS: i64 = 1_700_000_000_123_456_789;

/// The object of a file, as a test names it: by path and version.
pub(crate) fn object(entry: &Entry<'_>) -> Option<[u8; 32]> {
    Some(*blake3::hash(format!("{} {}", entry.path(), entry.version()).as_bytes()).as_bytes())
}

/// The bytes of a file: as many as it has, and unlike those of others.
pub(crate) fn bytes_of(entry: &Entry<'_>) -> Vec<u8> {
    let seed = entry.path();
    (0..entry.size()).map(|i| seed.as_bytes()[i as usize % seed.len()] ^ (i / 251) as u8).collect()
}

/// A generation, its image and two tiers, in directories that go with it.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) catalog: Catalog,
}

impl Bench {
    pub(crate) fn new(files: &[(&str, u64)]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount, which needs root");
        let dir = tempfile::tempdir().unwrap();
        let mounts = vec![MountSpec::new("/", "mem://x")];
        let config = BuilderConfig { dataset: "ns/d".into(), generation: 3, listed_at_ns: 11, mounts, memory: 8 << 20 };
        let mut builder = Builder::new(dir.path(), config).unwrap();
        for (key, size) in files {
            builder.add(0, Listed { key, size: *size, mtime_ns: MTIME_NS, version: "m5" }).unwrap();
        }
        let catalog = builder.finish(&dir.path().join("catalog")).unwrap();
        Image::new(&catalog, LOOK, object).write(&dir.path().join("image")).unwrap();
        let bench = Self { dir, catalog };
        for tier in 0..2 {
            fs::create_dir(bench.tier(tier)).unwrap();
        }
        bench
    }

    pub(crate) fn tier(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("tier-{number}"))
    }

    pub(crate) fn entry(&self, path: &str) -> Entry<'_> {
        self.catalog.by_path(path).unwrap()
    }

    /// Where the object of the file at `path` lies in a tier.
    pub(crate) fn cached(&self, tier: usize, path: &str) -> PathBuf {
        let hex: String = object(&self.entry(path)).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        self.tier(tier).join(&hex[..2]).join(&hex[2..])
    }

    /// Caches the file at `path`, as the cache does: whole at once.
    pub(crate) fn cache(&self, tier: usize, path: &str) {
        let to = self.cached(tier, path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let whole = self.dir.path().join("whole");
        fs::write(&whole, bytes_of(&self.entry(path))).unwrap();
        fs::rename(whole, to).unwrap();
    }

    pub(crate) fn mount(&self) -> Composed {
        let data = vec![self.tier(0), self.tier(1)];
        mount(&Layers { image: self.dir.path().join("image"), data, source: "test".into() }).unwrap()
    }

    pub(crate) fn assert_reads(&self, composed: &Composed, path: &str) {
        let read = fs::read(at(composed, path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(read == bytes_of(&self.entry(path)), "{path}");
    }
}

pub(crate) fn at(composed: &Composed, path: &str) -> PathBuf {
    composed.path().join(Path::new(path).strip_prefix("/").unwrap())
}
