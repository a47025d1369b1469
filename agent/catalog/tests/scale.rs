//! A million files: bytes a file on disk, and heap that does not grow with them. Alone in its process, since it
//! counts what the process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use forebay_catalog::{Builder, BuilderConfig, Catalog, Listed, MountSpec};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that `run` had allocated at once beyond those before it, and what it gives.
fn peak<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let out = run();
    (PEAK.load(Relaxed) - before, out)
}

const FILES: u64 = 1_000_000;
const MEMORY: usize = 8 << 20;

fn build(dir: &std::path::Path) -> Catalog {
    let mounts = vec![MountSpec::new("/", "mem://x"), MountSpec::new("/data/deep", "mem://y")];
    let config = BuilderConfig { dataset: "d".into(), generation: 1, listed_at_ns: 1, mounts, memory: MEMORY };
    let mut builder = Builder::new(dir, config).unwrap();
    for i in 0..FILES {
        // No two neighbours in one directory: the worst that a listing can do.
        let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) % 900;
        let key = format!("train/class-{n:04}/img_{:08}_{i:07}.jpg", i.wrapping_mul(2_654_435_761) % 100_000_000);
        let version = format!("e\"{:032x}\"", u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let mount = u16::from(i % 10 == 0);
        let mtime_ns = 1_700_000_000_000_000_000 + i64::try_from(i).unwrap();
        builder.add(mount, Listed { key: &key, size: i, mtime_ns, version: &version }).unwrap();
        if i % 1000 == 0 {
            builder.add(mount, Listed { key: &format!("{key}/.."), size: i, mtime_ns, version: &version }).unwrap();
        }
    }
    builder.finish(&dir.join("catalog")).unwrap()
}

#[test]
fn a_million_files_take_200_bytes_each_and_no_heap() {
    let dir = tempfile::tempdir().unwrap();
    let (built, catalog) = peak(|| build(dir.path()));
    assert!(built <= MEMORY + (1 << 20), "building took {built} bytes of heap");
    assert_eq!(catalog.info().files, FILES);
    let bytes = catalog.file_len() as f64 / FILES as f64;
    assert!(bytes <= 200.0, "{bytes} bytes a file");
    drop(catalog);

    let (opened, catalog) = peak(|| Catalog::open(dir.path().join("catalog")).unwrap());
    assert!(opened <= 64 << 10, "opening took {opened} bytes of heap");
    let (read, ()) = peak(|| {
        catalog.verify().unwrap();
        let mut files = 0;
        let mut last = None;
        for entry in catalog.walk("/") {
            files += 1;
            if files % 10 == 0 {
                assert!(catalog.by_ino(entry.ino()) == Some(entry));
                assert!(catalog.lookup(entry.parent(), entry.name().as_bytes()) == Some(entry));
            }
            if files % 1000 == 0 {
                assert!(catalog.by_path(&entry.path()) == Some(entry));
                assert!(last < Some(entry.path()), "walked out of order");
                last = Some(entry.path());
            }
        }
        assert_eq!(files, FILES);
        let directories = (0..catalog.len()).filter_map(|i| catalog.entry(i)).filter(|e| e.is_dir());
        let children: usize = directories.map(|d| catalog.children(d.index(), 0).count()).sum();
        assert_eq!(children + 1, catalog.len() as usize);
    });
    assert!(read <= 64 << 10, "reading took {read} bytes of heap");
}
