//! On real directories, with the cache's own threads and the real index.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tools::*;
use crate::*;

/// Two tiers of so many blocks below a directory.
pub(super) fn config(dir: &Path, blocks: [u64; 2]) -> CacheConfig {
    let tiers = [("ram", Medium::Memory, blocks[0]), ("ssd", Medium::Disk, blocks[1])];
    let tiers = tiers.map(|(name, medium, blocks)| TierConfig {
        name: name.into(),
        medium,
        dir: dir.join(name),
        capacity: blocks * BLOCK,
        reserve: 0,
    });
    let mut config = CacheConfig::new(tiers.into(), dir.join("index"));
    config.max_open_files = 16;
    config
}

/// Bytes allocated by all files below a directory; files may come and go.
pub(super) fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match std::fs::symlink_metadata(entry.path()) {
            Ok(meta) if meta.is_dir() => allocated(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        crate::policy::mix(self.0) % n
    }
}

pub(super) const SIZES: [u64; 6] = [1, 4097, 100_000, BLOCK, 3 * BLOCK + 5, 300 * BLOCK];

/// Some object's key, size and a block of it. The larger it is the fewer of its blocks are used.
pub(super) fn pick(random: &mut Random, keys: u64) -> (u64, u64, u32) {
    let key = random.below(keys);
    let size = SIZES[key as usize % SIZES.len()];
    let block = random.below(u64::from(block_count(size)).min(12)) as u32;
    (key, size, if size > 20 * BLOCK { block * 27 } else { block })
}

pub(super) fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn racing_readers_writers_and_evictors_see_only_right_bytes_within_the_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [12, 24]);
    let cache = Cache::open(config.clone()).unwrap();
    let ds = cache.set_dataset("a", DatasetPolicy::default());
    let narrow = cache.set_dataset("b", DatasetPolicy { quota: Some(6 * BLOCK), ..DatasetPolicy::default() });
    let stop = AtomicBool::new(false);
    let hits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let (cache, stop, hits) = (&cache, &stop, &hits);
            scope.spawn(move || {
                let mut random = Random(thread);
                while !stop.load(Ordering::Relaxed) {
                    let (key, size, block) = pick(&mut random, 60);
                    let object = object(cache, if key % 2 == 0 { ds } else { narrow }, key, size);
                    if check(&object, key, block) {
                        hits.fetch_add(1, Ordering::Relaxed);
                    } else {
                        insert(&object, key, block);
                    }
                    match random.below(60) {
                        0 => {
                            object.evict();
                        }
                        1 => drop(object.pin()),
                        2..5 => object.unpin(),
                        5 => {
                            if let Some(native) = object.native() {
                                // Another thread may drop the object at any time; what is open stays whole.
                                let Ok(file) = native.open() else { continue };
                                if random.below(2) == 0 {
                                    drop(native);
                                }
                                let mut bytes_there = vec![0; 10.min(size as usize)];
                                assert_eq!(file.read_at(0, &mut bytes_there).unwrap(), bytes_there.len());
                                assert_eq!(bytes_there, bytes(key, size, 0)[..bytes_there.len()]);
                            }
                        }
                        _ => {}
                    }
                }
            });
        }
        for tier in &config.tiers {
            let (cache, stop, objects, tmp) = (&cache, &stop, tier.dir.join("objects"), tier.dir.join("tmp"));
            let capacity = tier.capacity;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let real = cache.frozen(|| allocated(&objects) + allocated(&tmp));
                    assert!(real <= capacity, "{real} of {capacity}");
                    std::thread::sleep(Duration::from_millis(3));
                }
            });
        }
        std::thread::sleep(Duration::from_secs(4));
        cache.recover(&AtomicBool::new(false)).unwrap();
        let begun = Instant::now();
        let enough = || hits.load(Ordering::Relaxed) > 100 && cache.stats().evictions > 100;
        while begun.elapsed() < Duration::from_secs(1) || (!enough() && begun.elapsed() < Duration::from_secs(120)) {
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stats = cache.stats();
    assert!(hits.load(Ordering::Relaxed) > 100 && stats.evictions > 100, "{stats:?}");
    assert_eq!((stats.verify_failures, cache.health()[0].errors, cache.health()[1].errors), (0, 0, 0), "{:?}", cache.health());
    // What moves blocks between tiers has ended with it.
    let closed = cache.clone();
    cache.close();
    let usage = closed.usage();
    for (tier, usage) in config.tiers.iter().zip(&usage.tiers) {
        assert!(allocated(&tier.dir.join("objects")) <= usage.charged && usage.charged <= usage.capacity, "{usage:?}");
    }
    drop(closed);

    // Closed cleanly, it knows all of it again without a scan.
    let cache = Cache::open(config).unwrap();
    cache.set_dataset("a", DatasetPolicy::default());
    cache.set_dataset("b", DatasetPolicy::default());
    until(|| cache.health().iter().all(|health| health.state == TierState::Ready));
    let bytes_of =
        |usage: &Usage| usage.tiers.iter().map(|tier| (tier.bytes, tier.blocks, tier.objects, tier.pinned)).collect::<Vec<_>>();
    assert_eq!(bytes_of(&cache.usage()), bytes_of(&usage));
    let report = cache.recover(&AtomicBool::new(false)).unwrap();
    assert_eq!((report.adopted, report.lost, report.damaged, report.garbage, report.trimmed), (0, 0, 0, 0, 0));
    assert_eq!(bytes_of(&cache.usage()), bytes_of(&usage));
}

#[test]
fn two_caches_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [12, 24]);
    let cache = Cache::open(config.clone()).unwrap();
    let mut other = config.clone();
    other.index_dir = dir.path().join("other");
    let error = Cache::open(other.clone()).err().unwrap();
    assert!(matches!(error, CacheError::InUse { .. }), "{error}");
    cache.close();
    Cache::open(other).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_leaves_the_other_tier_working_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ram"), b"in the way").unwrap();
    let cache = Cache::open(config(dir.path(), [12, 24])).unwrap();
    let ds = cache.set_dataset("a", DatasetPolicy { landing_tier: Some("ram".into()), ..DatasetPolicy::default() });
    assert_eq!(insert(&object(&cache, ds, 1, 1000), 1, 0), Inserted::Stored { tier: "ssd".into() });
    let health = &cache.health()[0];
    assert!(
        matches!(health.state, TierState::Faulted { .. }) && health.last_error.as_ref().unwrap().contains("ram"),
        "{health:?}"
    );
    std::fs::remove_file(dir.path().join("ram")).unwrap();
    until(|| cache.health()[0].state == TierState::Ready);
    assert_eq!(insert(&object(&cache, ds, 2, 1000), 2, 0), Inserted::Stored { tier: "ram".into() });
}

#[test]
fn a_damaged_index_costs_a_scan_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [12, 24]);
    for round in 0..3 {
        let cache = Cache::open(config.clone()).unwrap();
        let ds = cache.set_dataset("a", DatasetPolicy::default());
        if round > 0 {
            assert!(check(&object(&cache, ds, 1, 100_000), 1, 0), "found in the tier while the index knows nothing");
            cache.recover(&AtomicBool::new(false)).unwrap();
        }
        assert!(is_stored(&insert(&object(&cache, ds, 1, 100_000), 1, 0)));
        assert_eq!(cache.usage().tiers.iter().map(|tier| tier.objects).sum::<u64>(), 1);
        cache.close();
        for entry in std::fs::read_dir(&config.index_dir).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let mut bytes = std::fs::read(entry.path()).unwrap();
            bytes.iter_mut().skip(round).step_by(3).for_each(|byte| *byte = !*byte);
            std::fs::write(entry.path(), bytes).unwrap();
        }
    }
}
