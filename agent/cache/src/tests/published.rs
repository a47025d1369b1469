//! Published objects: readable by whoever has the directory, with their bytes as they are until the last reader is gone.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::fs::{Mode, OFlags};

use super::real::config;
use super::tools::*;
use crate::*;

const LARGE: u64 = 3 * BLOCK + 5;

pub(super) fn whole(key: u64, size: u64) -> Vec<u8> {
    (0..block_count(size)).flat_map(|block| bytes(key, size, block)).collect()
}

pub(super) fn fill(object: &Object, key: u64) {
    for block in 0..object.blocks() {
        assert!(is_stored(&insert(object, key, block)));
    }
}

/// Where a published object is, in whichever tier.
pub(super) fn place(cache: &Cache, object: &Object) -> Option<PathBuf> {
    let hex = object.id().hex();
    cache.published().into_iter().map(|dir| dir.join(&hex[..2]).join(&hex[2..])).find(|path| path.exists())
}

fn reopen(config: &CacheConfig) -> (Cache, DatasetId) {
    let cache = Cache::open(config.clone()).unwrap();
    let set = cache.set_dataset("d", DatasetPolicy::default());
    (cache, set)
}

#[test]
fn pinned_and_complete_objects_are_files_of_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, set) = reopen(&config(dir.path(), [40, 40]));
    cache.published();
    for (key, size) in [(1, 1), (2, 100_000), (3, BLOCK), (4, LARGE)] {
        let object = object(&cache, set, key, size);
        object.pin().unwrap();
        assert!(matches!(object.publish(), Err(PublishError::NotReady)), "nothing of it is here");
        fill(&object, key);
        object.publish().unwrap();
        object.publish().unwrap();
        assert!(fs::read(place(&cache, &object).unwrap()).unwrap() == whole(key, size));
    }
    let empty = object(&cache, set, 9, 0);
    empty.publish().unwrap();
}

#[test]
fn what_may_be_evicted_or_is_not_whole_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, set) = reopen(&config(dir.path(), [40, 40]));
    cache.published();
    let loose = object(&cache, set, 1, LARGE);
    fill(&loose, 1);
    assert!(matches!(loose.publish(), Err(PublishError::NotReady)));
    let partial = object(&cache, set, 2, LARGE);
    partial.pin().unwrap();
    insert(&partial, 2, 1);
    assert!(matches!(partial.publish(), Err(PublishError::NotReady)));
    assert_eq!((place(&cache, &loose), place(&cache, &partial)), (None, None));
}

/// Who came by the directory and knows the file, as overlayfs does without having it open, finds its bytes there after the object was
/// unpinned, evicted for want of room, and fetched anew.
#[test]
fn a_file_once_found_has_its_bytes_whatever_becomes_of_the_object() {
    // More of a tier than pins leave free.
    const HALF: u64 = 8 * BLOCK + 5;
    let dir = tempfile::tempdir().unwrap();
    let (cache, set) = reopen(&config(dir.path(), [16, 16]));
    cache.published();
    let object_1 = object(&cache, set, 1, HALF);
    object_1.pin().unwrap();
    fill(&object_1, 1);
    object_1.publish().unwrap();
    let path = place(&cache, &object_1).unwrap();
    let known = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();

    object_1.unpin();
    for key in 2..60 {
        let other = object(&cache, set, key, BLOCK);
        // Pins take the room of what is not pinned.
        if other.pin().is_ok() {
            fill(&other, key);
        }
        // Whatever is still found under the name is whole.
        if let Ok(found) = fs::read(&path) {
            assert!(found == whole(1, HALF));
        }
    }
    assert!(!path.exists(), "nothing else went for so many others");
    assert_eq!(object_1.present_bytes(), 0);
    let found = fs::read(format!("/proc/self/fd/{}", known.as_raw_fd())).unwrap();
    assert!(found == whole(1, HALF));

    (2..60).for_each(|key| object(&cache, set, key, BLOCK).unpin());
    object_1.pin().unwrap();
    fill(&object_1, 1);
    object_1.publish().unwrap();
    assert!(fs::read(place(&cache, &object_1).unwrap()).unwrap() == whole(1, HALF));
}

#[test]
fn what_was_published_stays_so_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [40, 40]);
    let (cache, set) = reopen(&config);
    cache.published();
    for (key, size) in [(1, 100_000), (2, LARGE)] {
        let object = object(&cache, set, key, size);
        object.pin().unwrap();
        fill(&object, key);
        object.publish().unwrap();
    }
    cache.close();
    let (cache, set) = reopen(&config);
    for (key, size) in [(1, 100_000), (2, LARGE)] {
        let object = object(&cache, set, key, size);
        assert!(fs::read(place(&cache, &object).unwrap()).unwrap() == whole(key, size));
        object.publish().unwrap();
        assert_eq!(cache.stats().verified, 0, "what this boot verified is not read again");
        object.unpin();
        object.evict();
        assert_eq!(place(&cache, &object), None);
    }
    cache.close();
    assert_eq!(links_below(dir.path()), 0);
}

/// Object 1 was published before the machine started again; where it was.
fn another_boot(config: &CacheConfig) -> PathBuf {
    let (cache, set) = reopen(config);
    cache.published();
    let object_1 = object(&cache, set, 1, LARGE);
    object_1.pin().unwrap();
    fill(&object_1, 1);
    object_1.publish().unwrap();
    let boot = place(&cache, &object_1).unwrap().ancestors().nth(2).unwrap().to_owned();
    cache.close();
    let other = boot.with_file_name("another-boot");
    fs::rename(&boot, &other).unwrap();
    other
}

#[test]
fn another_boots_link_proves_nothing_before_a_scan_either() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [40, 40]);
    let other = another_boot(&config);
    let (cache, set) = reopen(&config);
    cache.published();
    let object_1 = object(&cache, set, 1, LARGE);
    damage(&object_file(dir.path(), &object_1));
    assert!(matches!(object_1.publish(), Err(PublishError::NotReady)), "a block of it is damaged");
    assert_eq!(place(&cache, &object_1), None);
    assert!(other.exists(), "no scan was needed to find that out");
    let health = cache.health();
    assert!(health.iter().all(|tier| !matches!(tier.state, TierState::Faulted { .. })), "{health:?}");
}

/// After a power failure files may lack what their records say they have.
#[test]
fn another_boots_links_go_and_files_are_verified_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [40, 40]);
    let other = another_boot(&config);

    let (cache, set) = reopen(&config);
    let object_1 = object(&cache, set, 1, LARGE);
    assert_eq!(place(&cache, &object_1), None);
    let path = |dir: &Path| object_file(dir, &object_1);
    damage(&path(dir.path()));
    cache.recover(&AtomicBool::new(false)).unwrap();
    assert!(!other.exists());
    assert!(matches!(object_1.publish(), Err(PublishError::NotReady)), "a block of it is damaged");
    assert_eq!(place(&cache, &object_1), None);
    assert_eq!(fs::metadata(path(dir.path())).unwrap().nlink(), 1);
}

#[test]
fn a_damaged_small_file_is_found_natively_no_more_and_comes_anew() {
    const SMALL: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [40, 40]);
    let (cache, set) = reopen(&config);
    cache.published();
    let object_1 = object(&cache, set, 1, SMALL);
    object_1.pin().unwrap();
    fill(&object_1, 1);
    object_1.publish().unwrap();
    damage_at(&object_file(dir.path(), &object_1), 0);
    cache.close();

    let (cache, set) = reopen(&config);
    cache.published();
    let object_1 = object(&cache, set, 1, SMALL);
    assert!(place(&cache, &object_1).is_some());
    let before = cache.layer_changes();
    assert!(!check(&object_1, 1, 0));
    assert_eq!(place(&cache, &object_1), None);
    assert!(cache.layer_changes().all > before.all, "who remembers it is to look anew");
    let native = || cache.usage().tiers.iter().map(|tier| tier.native).sum::<u64>();
    assert_eq!((native(), links_below(dir.path())), (0, 0));
    fill(&object_1, 1);
    assert_eq!((native(), links_below(dir.path())), (0, 0));
    object_1.publish().unwrap();
    assert!(fs::read(place(&cache, &object_1).unwrap()).unwrap() == whole(1, SMALL));
    assert_eq!((native(), links_below(dir.path())), (1, 1));
}

/// As a fault of the disk leaves it when a block is taken out.
#[test]
fn a_link_that_was_left_does_not_outlive_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, set) = reopen(&config(dir.path(), [40, 40]));
    cache.published();
    let object_1 = object(&cache, set, 1, 100_000);
    object_1.pin().unwrap();
    fill(&object_1, 1);
    object_1.publish().unwrap();
    let (file, link) = (object_file(dir.path(), &object_1), place(&cache, &object_1).unwrap());
    damage_at(&file, 0);
    cache.close();
    let (cache, set) = reopen(&config(dir.path(), [40, 40]));
    let object_1 = object(&cache, set, 1, 100_000);
    assert!(!check(&object_1, 1, 0));
    fs::hard_link(&file, &link).unwrap();
    fill(&object_1, 1);
    assert!(!link.exists());
    assert!(check(&object_1, 1, 0));
}

#[test]
fn a_removed_dataset_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, set) = reopen(&config(dir.path(), [40, 40]));
    cache.published();
    let object = object(&cache, set, 1, LARGE);
    object.pin().unwrap();
    fill(&object, 1);
    object.publish().unwrap();
    cache.remove_dataset("d");
    assert_eq!(place(&cache, &object), None);
    assert_eq!(links_below(dir.path()), 0);
}

fn object_file(dir: &Path, object: &Object) -> PathBuf {
    let hex = object.id().hex();
    let file = |tier| dir.join(tier).join("objects").join(&hex[..2]).join(&hex[2..]);
    [file("ram"), file("ssd")].into_iter().find(|path| path.exists()).unwrap()
}

fn damage(path: &Path) {
    damage_at(path, BLOCK);
}

fn damage_at(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[0; 64], at).unwrap();
}

/// Files in directories of published objects.
pub(super) fn links_below(dir: &Path) -> usize {
    ["ram", "ssd"]
        .iter()
        .flat_map(|tier| fs::read_dir(dir.join(tier).join("native")).into_iter().flatten().flatten())
        .flat_map(|boot| fs::read_dir(boot.path()).unwrap().flatten())
        .map(|prefix| fs::read_dir(prefix.path()).unwrap().count())
        .sum()
}
