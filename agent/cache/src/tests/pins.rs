//! Objects that belong to two Datasets: a pin belongs to who made it.

use super::tools::*;
use crate::io::TierIo;
use crate::*;

const SMALL: u64 = 100_000;
const LARGE: u64 = 2 * BLOCK + 77;

/// The same object in both Datasets.
fn shared(bench: &Bench, key: u64, size: u64) -> [Object; 2] {
    ["a", "b"].map(|name| object(bench.cache(), bench.dataset(name), key, size))
}

fn fill(object: &Object, key: u64) {
    (0..object.blocks()).for_each(|block| assert!(is_stored(&insert(object, key, block))));
}

fn is_whole(object: &Object, key: u64) -> bool {
    (0..object.blocks()).all(|block| check(object, key, block))
}

/// Bytes that each of the Datasets has pinned.
fn sums(bench: &Bench) -> [u64; 2] {
    let usage = bench.cache().usage();
    ["a", "b"].map(|name| usage.datasets.get(name).map_or(0, |used| used.pinned))
}

/// Bytes promised to pins in the tier.
fn promised(bench: &Bench) -> u64 {
    bench.cache().usage().tiers[0].pinned
}

#[test]
fn an_object_is_pinned_as_long_as_one_dataset_pins_it() {
    for size in [SMALL, LARGE] {
        for first in [0, 1] {
            let bench = Bench::new(&[16]);
            let both = shared(&bench, 1, size);
            fill(&both[0], 1);
            both[0].pin().unwrap();
            let whole = promised(&bench);
            assert_eq!(sums(&bench), [size, 0]);
            both[1].pin().unwrap();
            both[1].pin().unwrap();
            assert_eq!((sums(&bench), promised(&bench)), ([size, size], whole));

            let (leaves, stays) = (&both[first], &both[1 - first]);
            leaves.unpin();
            leaves.unpin();
            assert_eq!((sums(&bench), promised(&bench)), (if first == 0 { [0, size] } else { [size, 0] }, whole));
            assert!(leaves.is_pinned() && !leaves.is_pinned_by_dataset() && stays.is_pinned_by_dataset());
            assert_eq!(leaves.evict_unpinned(), 0);
            for key in 100..140 {
                fill(&object(bench.cache(), bench.dataset("a"), key, BLOCK), key);
            }
            assert!(is_whole(stays, 1));

            stays.unpin();
            assert_eq!((sums(&bench), promised(&bench), stays.is_pinned()), ([0, 0], 0, false));
            assert_eq!(leaves.evict_unpinned(), size);
        }
    }
}

#[test]
fn the_file_of_an_absent_object_goes_with_its_last_pin() {
    let bench = Bench::new(&[16]);
    let [a, b] = shared(&bench, 1, LARGE);
    b.pin().unwrap();
    a.pin().unwrap();
    b.unpin();
    assert_eq!((sums(&bench), bench.cache().usage().tiers[0].objects), ([LARGE, 0], 1));
    a.unpin();
    assert_eq!((sums(&bench), bench.cache().usage().tiers[0].objects), ([0, 0], 0));
    assert!(bench.disks[0].names().iter().all(|name| name == "ledger"), "{:?}", bench.disks[0].names());
}

#[test]
fn who_does_not_pin_an_object_takes_no_pin_off() {
    let bench = Bench::new(&[16]);
    let [a, b] = shared(&bench, 1, LARGE);
    fill(&a, 1);
    b.pin().unwrap();
    a.unpin();
    bench.cache().unpin_dataset("a");
    assert_eq!((sums(&bench), bench.cache().evict_dataset("a")), ([0, LARGE], 0));
    assert!(is_whole(&b, 1));

    a.pin().unwrap();
    bench.cache().unpin_dataset("b");
    assert_eq!((sums(&bench), a.is_pinned()), ([LARGE, 0], true));
    bench.cache().unpin_dataset("a");
    assert_eq!((sums(&bench), a.is_pinned(), is_whole(&a, 1)), ([0, 0], false, true));
}

#[test]
fn a_pin_too_many_for_its_quota_is_refused_whoever_pins_the_object_besides() {
    let bench = Bench::new(&[16]);
    let [a, b] = shared(&bench, 1, SMALL);
    a.pin().unwrap();
    bench.cache().set_dataset("b", DatasetPolicy { quota: Some(SMALL - 1), ..DatasetPolicy::default() });
    assert!(matches!(b.pin(), Err(PinError::Quota { needed: SMALL, pinned: 0, .. })));
    b.unpin();
    assert_eq!((sums(&bench), a.is_pinned()), ([SMALL, 0], true));
    bench.cache().remove_dataset("b");
    assert_eq!((b.pin(), sums(&bench)), (Err(PinError::Retired), [SMALL, 0]));
}

#[test]
fn pins_outlive_the_removal_of_the_objects_owner() {
    let bench = Bench::new(&[16]);
    let [a, b] = shared(&bench, 1, LARGE);
    let [alone, _] = shared(&bench, 2, SMALL);
    fill(&a, 1);
    fill(&alone, 2);
    for object in [&a, &b, &alone] {
        object.pin().unwrap();
    }
    assert_eq!(sums(&bench), [LARGE + SMALL, LARGE]);
    assert_eq!(bench.cache().remove_dataset("a"), SMALL, "what nobody else pins");
    assert_eq!((sums(&bench), b.is_pinned(), alone.is_pinned()), ([0, LARGE], true, false));
    // Its reader becomes the owner.
    assert!(is_whole(&b, 1));
    assert_eq!((sums(&bench), bench.cache().usage().datasets["b"].bytes), ([0, LARGE], LARGE));
    b.unpin();
    assert_eq!((sums(&bench), promised(&bench), b.is_pinned()), ([0, 0], 0, false));
}

#[test]
fn the_pins_of_a_removed_dataset_go_and_the_objects_of_others_stay() {
    let bench = Bench::new(&[16]);
    let [a, b] = shared(&bench, 1, LARGE);
    let [other, of_b] = shared(&bench, 2, SMALL);
    fill(&a, 1);
    fill(&other, 2);
    for object in [&a, &b, &of_b] {
        object.pin().unwrap();
    }
    assert_eq!(sums(&bench), [LARGE, LARGE + SMALL]);
    assert_eq!(bench.cache().remove_dataset("b"), 0);
    assert_eq!((sums(&bench), a.is_pinned(), other.is_pinned()), ([LARGE, 0], true, false));
    assert!(is_whole(&a, 1) && is_whole(&other, 2));
}

#[test]
fn after_a_restart_the_owner_pins_it_until_all_pin_anew() {
    for killed in [false, true] {
        let mut bench = Bench::new(&[16]);
        let [a, b] = shared(&bench, 1, LARGE);
        fill(&a, 1);
        a.pin().unwrap();
        b.pin().unwrap();
        if killed {
            bench.kill();
            bench.open();
            bench.recover();
        } else {
            bench.restart();
        }
        let [a, b] = shared(&bench, 1, LARGE);
        assert!(a.is_pinned() && b.is_pinned());
        assert_eq!(sums(&bench), [LARGE, 0]);
        b.pin().unwrap();
        assert_eq!(sums(&bench), [LARGE, LARGE]);
        a.unpin();
        assert_eq!(sums(&bench), [0, LARGE]);
        assert!(is_whole(&b, 1));
    }
}

#[test]
fn what_an_undeclared_dataset_left_stays_while_a_declared_one_pins_it() {
    for read in [false, true] {
        let mut bench = Bench::new(&[16]);
        let [a, _] = shared(&bench, 1, LARGE);
        fill(&a, 1);
        a.pin().unwrap();
        bench.restart();
        let b = object(bench.cache(), bench.dataset("b"), 1, LARGE);
        b.pin().unwrap();
        assert!(!read || is_whole(&b, 1));
        assert_eq!(bench.cache().remove_undeclared(), 0);
        assert_eq!((sums(&bench), b.is_pinned()), ([0, LARGE], true));
        assert_eq!(bench.cache().usage().datasets.get("").map_or(0, |left| left.pinned), 0);
        assert!(is_whole(&b, 1));
        b.unpin();
        assert_eq!((sums(&bench), promised(&bench)), ([0, 0], 0));
    }
}

#[test]
fn all_pins_of_an_object_go_with_it() {
    for lost in [false, true] {
        let bench = Bench::new(&[16]);
        let [a, b] = shared(&bench, 1, SMALL);
        fill(&a, 1);
        a.pin().unwrap();
        b.pin().unwrap();
        if lost {
            let file = bench.disks[0].names().into_iter().find(|name| name.starts_with("objects/")).unwrap();
            bench.disks[0].unlink(&file).unwrap();
            assert_eq!(bench.recover().lost, 1);
        } else {
            assert_eq!(a.evict(), SMALL);
        }
        assert_eq!((sums(&bench), promised(&bench), b.is_pinned()), ([0, 0], 0, false));
        b.pin().unwrap();
        assert_eq!((sums(&bench), a.is_pinned_by_dataset()), ([0, SMALL], false));
    }
}
