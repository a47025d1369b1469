//! Small objects that are published though nobody pins them: while there is room to spare, and never at the cost of what is promised.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::published::{fill, links_below, place, whole};
use super::real::{allocated, config};
use super::tools::*;
use crate::index::MemoryIndex;
use crate::io::{DiskIo, TierIo};
use crate::*;

/// Sizes of objects of one block.
const SMALL: [u64; 3] = [1, 100_000, BLOCK];

/// A cache on the disk that does by itself only what [`Cache::step`] makes it do.
fn unattended(config: &CacheConfig) -> Cache {
    let ios = config.tiers.iter().map(|tier| Arc::new(DiskIo::new(&tier.dir)) as Arc<dyn TierIo>).collect();
    Cache::open_with(config, Parts { ios, index: Arc::new(MemoryIndex::default()), threads: false }).unwrap()
}

fn native() -> DatasetPolicy {
    DatasetPolicy { native: true, landing_tier: Some("ssd".into()), ..DatasetPolicy::default() }
}

/// Objects of one whole block, complete.
fn blocks(cache: &Cache, set: DatasetId, keys: std::ops::Range<u64>) -> Vec<Object> {
    let one = |key| {
        let object = object(cache, set, key, BLOCK);
        fill(&object, key);
        object
    };
    keys.map(one).collect()
}

fn published(cache: &Cache, objects: &[Object]) -> usize {
    objects.iter().filter(|object| place(cache, object).is_some()).count()
}

/// What the accounts say is what is on the disk.
fn check_accounts(cache: &Cache, dir: &Path) {
    let usage = cache.usage();
    let native: u64 = usage.tiers.iter().map(|tier| tier.native).sum();
    assert_eq!(native, links_below(dir) as u64);
    for tier in &usage.tiers {
        let real = allocated(&dir.join(&tier.name).join("objects"));
        assert!(real <= tier.charged && tier.charged <= tier.capacity, "{real}, {tier:?}");
    }
}

#[test]
fn small_objects_are_published_where_that_is_wanted_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = unattended(&config(dir.path(), [40, 40]));
    let wanted = cache.set_dataset("wanted", native());
    let plain = cache.set_dataset("plain", DatasetPolicy { native: false, ..native() });
    let aging = cache.set_dataset("aging", DatasetPolicy { ttl: Some(Duration::from_secs(3600)), ..native() });
    let of = |set, first: u64| {
        let objects = (first..).zip(SMALL).map(|(key, size)| object(&cache, set, key, size));
        objects.inspect(|object| assert!(object.blocks() == 1)).collect::<Vec<_>>()
    };
    let (small, other, old) = (of(wanted, 1), of(plain, 11), of(aging, 21));
    let large = object(&cache, wanted, 9, BLOCK + 1);
    for (objects, first) in [(&small, 1), (&other, 11), (&old, 21)] {
        objects.iter().zip(first..).for_each(|(object, key)| fill(object, key));
    }
    fill(&large, 9);
    assert_eq!((links_below(dir.path()), cache.layer_changes()), (0, LayerChanges::default()));
    cache.step();
    for (object, key) in small.iter().zip(1..) {
        assert!(fs::read(place(&cache, object).unwrap()).unwrap() == whole(key, object.size()));
    }
    assert_eq!((published(&cache, &other), published(&cache, &old), place(&cache, &large)), (0, 0, None));
    let first = cache.layer_changes();
    assert!(first.all > 0 && first.urgent == 0, "{first:?}");
    cache.step();
    assert_eq!(cache.layer_changes(), first, "nothing new");

    // Composed since: what is there already counts too.
    cache.set_native(plain, true);
    cache.step();
    assert_eq!((published(&cache, &other), published(&cache, &old)), (3, 0));
    assert!(cache.layer_changes().all > first.all);
    check_accounts(&cache, dir.path());

    let before = cache.layer_changes();
    small[0].evict();
    assert_eq!(place(&cache, &small[0]), None);
    assert!(cache.layer_changes().all > before.all, "its space is free when nobody remembers it");
    check_accounts(&cache, dir.path());
    // A policy by which reads must be seen.
    cache.set_dataset("plain", DatasetPolicy { ttl: Some(Duration::from_secs(3600)), ..native() });
    cache.step();
    assert_eq!((published(&cache, &other), published(&cache, &small)), (0, 2));
    check_accounts(&cache, dir.path());
}

#[test]
fn short_room_takes_the_links_and_leaves_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = unattended(&config(dir.path(), [8, 32]));
    let set = cache.set_dataset("d", native());
    let pinned = object(&cache, set, 100, BLOCK);
    pinned.pin().unwrap();
    cache.published();
    fill(&pinned, 100);
    pinned.publish().unwrap();
    let mut objects = blocks(&cache, set, 0..20);
    cache.step();
    assert_eq!(published(&cache, &objects), 20);
    let path = place(&cache, &objects[0]).unwrap();
    let known = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();

    // Between the two limits nothing changes.
    objects.extend(blocks(&cache, set, 20..27));
    cache.step();
    assert_eq!((published(&cache, &objects[..20]), published(&cache, &objects[20..])), (20, 0));
    assert_eq!(cache.layer_changes().urgent, 0);

    objects.extend(blocks(&cache, set, 27..29));
    let bytes = cache.usage().tiers[1].bytes;
    assert_eq!(bytes, 30 * BLOCK, "nothing was evicted yet");
    cache.step();
    assert_eq!((published(&cache, &objects), cache.layer_changes().urgent), (0, 1));
    assert!(place(&cache, &pinned).is_some());
    assert_eq!(cache.usage().tiers[1].bytes, bytes);
    for (object, key) in objects.iter().zip(0..) {
        assert!(check(object, key, 0));
    }
    check_accounts(&cache, dir.path());
    cache.step();
    assert_eq!(cache.layer_changes().urgent, 1);

    // Who knew the file reads it whatever becomes of the object.
    assert_eq!(objects[0].evict(), BLOCK);
    assert!(fs::read(format!("/proc/self/fd/{}", known.as_raw_fd())).unwrap() == whole(0, BLOCK));

    // With room to spare again they come back, the former ones too.
    objects.drain(..10).for_each(|object| {
        object.evict();
    });
    cache.step();
    assert_eq!(published(&cache, &objects), objects.len());
    check_accounts(&cache, dir.path());
}

#[test]
fn a_quota_takes_only_its_own_datasets_links() {
    let dir = tempfile::tempdir().unwrap();
    let cache = unattended(&config(dir.path(), [8, 80]));
    let narrow = cache.set_dataset("narrow", DatasetPolicy { quota: Some(16 * BLOCK), ..native() });
    let wide = cache.set_dataset("wide", native());
    let (few, others) = (blocks(&cache, narrow, 0..14), blocks(&cache, wide, 100..105));
    cache.step();
    assert_eq!((published(&cache, &few), published(&cache, &others)), (14, 5));
    let more = blocks(&cache, narrow, 14..16);
    cache.step();
    assert_eq!((published(&cache, &few), published(&cache, &more), published(&cache, &others)), (0, 0, 5));
    assert_eq!(cache.layer_changes().urgent, 1);
    check_accounts(&cache, dir.path());
}

/// Faster than the cache looks at its room: what is evicted then has its link still.
#[test]
fn a_burst_evicts_what_is_published_and_stays_within_the_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let cache = unattended(&config(dir.path(), [8, 32]));
    let set = cache.set_dataset("d", native());
    let objects = blocks(&cache, set, 0..20);
    cache.step();
    let reader = fs::File::open(place(&cache, &objects[3]).unwrap()).unwrap();
    for key in 20..60 {
        let other = object(&cache, set, key, BLOCK);
        // Pins take the room of what is not pinned.
        if other.pin().is_ok() {
            fill(&other, key);
        }
        check_accounts(&cache, dir.path());
    }
    assert!(published(&cache, &objects) < 20, "some had to go");
    assert!(objects[3].is_complete(), "somebody reads it");
    for (object, key) in objects.iter().zip(0..) {
        if let Some(path) = place(&cache, object) {
            assert!(fs::read(path).unwrap() == whole(key, BLOCK));
        }
    }
    drop(reader);
}

#[test]
fn a_restart_finds_what_is_published_and_can_take_it_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [8, 32]);
    let cache = unattended(&config);
    let set = cache.set_dataset("d", native());
    blocks(&cache, set, 0..20);
    cache.step();
    assert_eq!(links_below(dir.path()), 20);
    cache.abandon();

    let cache = unattended(&config);
    let set = cache.set_dataset("d", native());
    let objects: Vec<_> = (0..20).map(|key| object(&cache, set, key, BLOCK)).collect();
    assert_eq!(published(&cache, &objects), 20, "nobody has to verify them first");
    cache.recover(&AtomicBool::new(false)).unwrap();
    check_accounts(&cache, dir.path());
    blocks(&cache, set, 20..30);
    cache.step();
    assert_eq!((links_below(dir.path()), cache.layer_changes().urgent), (0, 1));
    for (object, key) in objects.iter().zip(0..) {
        assert!(check(object, key, 0));
    }
    check_accounts(&cache, dir.path());
}
