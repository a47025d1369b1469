use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

use crate::support::{Bench, LOOK, MTIME_NS, at};

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/c", "/a/c/d", "/zero"];

fn bench() -> Bench {
    Bench::new(&[("a/b", 5_000), ("a/c/d", 1 << 42), ("zero", 0)])
}

fn numbers(stat: &Metadata) -> (u64, u64, u64, u64) {
    (stat.ino(), stat.size(), stat.blocks(), stat.nlink())
}

#[test]
fn stat_says_what_the_catalog_says() {
    let bench = bench();
    let composed = bench.mount();
    for path in PATHS {
        let stat = fs::metadata(at(&composed, path)).unwrap();
        let entry = bench.entry(path);
        assert_eq!((stat.uid(), stat.gid()), (LOOK.uid, LOOK.gid), "{path}");
        assert_eq!(stat.mtime() * 1_000_000_000 + stat.mtime_nsec(), MTIME_NS, "{path}");
        assert_eq!((stat.ctime(), stat.atime()), (stat.mtime(), stat.mtime()), "{path}");
        if entry.is_dir() {
            assert_eq!(stat.mode(), 0o040_555, "{path}");
            assert_eq!(stat.nlink(), 2 + u64::from(entry.subdirectories()), "{path}");
        } else {
            assert_eq!((stat.mode(), stat.nlink(), stat.size()), (0o100_444, 1, entry.size()), "{path}");
            // All of it counts, cached or not: nothing takes it for a sparse file.
            assert_eq!(stat.blocks(), entry.size().next_multiple_of(4096) / 512, "{path}");
        }
    }
}

/// Also when the layers lie on different file systems, and whatever is cached.
#[test]
fn inode_numbers_are_those_of_the_image_in_every_mount_of_it() {
    let bench = bench();
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::remove_dir(bench.tier(0)).unwrap();
    std::os::unix::fs::symlink(shm.path(), bench.tier(0)).unwrap();
    let before = bench.mount();
    bench.cache(1, "/a/b");
    bench.assert_reads(&before, "/a/b");
    let after = bench.mount();
    let stats = |composed| PATHS.map(|path| numbers(&fs::metadata(at(composed, path)).unwrap()));
    assert_eq!(stats(&before), stats(&after));
    assert_eq!(stats(&before)[0].0, 1, "the root is 1, as in every tree");
    assert_eq!(stats(&before).iter().map(|stat| stat.0).collect::<HashSet<_>>().len(), PATHS.len());
    let devices: HashSet<u64> = PATHS.iter().map(|path| fs::metadata(at(&before, path)).unwrap().dev()).collect();
    assert_eq!(devices.len(), 1);
    for entry in fs::read_dir(at(&before, "/a")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), entry.metadata().unwrap().ino());
    }
}

#[test]
fn df_shows_the_bytes_of_the_dataset() {
    let bench = bench();
    let df = rustix::fs::statvfs(bench.mount().path()).unwrap();
    assert_eq!(df.f_blocks * df.f_frsize, bench.catalog.info().bytes.next_multiple_of(4096));
    assert_eq!((df.f_bavail, df.f_namemax), (0, 255));
}
