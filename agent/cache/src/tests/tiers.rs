//! What goes on between tiers, and natively.

use std::time::Duration;

use super::tools::*;
use crate::*;

const SMALL: u64 = 500_000;

fn in_tier(bench: &Bench, tier: usize) -> u64 {
    bench.cache().usage().tiers[tier].blocks
}

/// Two tiers, the upper one full of blocks read `reads` times.
fn full_above(reads: u32) -> (Bench, DatasetId) {
    let bench = Bench::new(&[8, 64]);
    let ds = bench.dataset("a");
    for key in 0..8 {
        insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
    }
    for _ in 0..reads {
        bench.clock.advance(Duration::from_secs(2));
        for key in 0..8 {
            check(&object(bench.cache(), ds, key, BLOCK), key, 0);
        }
    }
    assert_eq!((in_tier(&bench, 0), in_tier(&bench, 1)), (8, 0));
    (bench, ds)
}

#[test]
fn blocks_land_in_the_fastest_tier_with_room_then_in_the_last() {
    let (bench, ds) = full_above(0);
    assert_eq!(insert(&object(bench.cache(), ds, 100, BLOCK), 100, 0), Inserted::Stored { tier: "t1".into() });
    let wish = Landing { tier: Some("t0".into()), pin: false, guest: false };
    let landed = object(bench.cache(), ds, 101, BLOCK).insert(0, &bytes(101, BLOCK, 0), wish);
    assert_eq!(landed, Inserted::Stored { tier: "t0".into() });
}

#[test]
fn what_the_upper_tier_evicts_is_found_in_the_lower_one() {
    let (bench, ds) = full_above(0);
    for key in 100..104 {
        let wish = Landing { tier: Some("t0".into()), pin: false, guest: false };
        object(bench.cache(), ds, key, BLOCK).insert(0, &bytes(key, BLOCK, 0), wish);
    }
    bench.cache().step();
    assert_eq!(bench.cache().stats().demotions, 4);
    assert_eq!((in_tier(&bench, 0), in_tier(&bench, 1)), (8, 4));
    for key in (0..8).chain(100..104) {
        assert!(check(&object(bench.cache(), ds, key, BLOCK), key, 0), "{key}");
    }
}

#[test]
fn a_demoted_block_that_landed_anew_meanwhile_is_not_kept_twice() {
    let (bench, ds) = full_above(0);
    let wish = || Landing { tier: Some("t0".into()), pin: false, guest: false };
    object(bench.cache(), ds, 100, BLOCK).insert(0, &bytes(100, BLOCK, 0), wish());
    let gone = (0..8).find(|key| !object(bench.cache(), ds, *key, BLOCK).has(0)).unwrap();
    object(bench.cache(), ds, gone, BLOCK).insert(0, &bytes(gone, BLOCK, 0), wish());
    bench.cache().step();
    assert_eq!(bench.cache().usage().datasets["a"].bytes, (in_tier(&bench, 0) + in_tier(&bench, 1)) * BLOCK);
    assert_eq!(in_tier(&bench, 0) + in_tier(&bench, 1), 9);
}

#[test]
fn a_block_read_often_moves_up_and_leaves_the_lower_tier() {
    let (bench, ds) = full_above(0);
    let hot = object(bench.cache(), ds, 100, BLOCK);
    insert(&hot, 100, 0);
    for _ in 0..8 {
        bench.clock.advance(Duration::from_secs(2));
        assert!(check(&hot, 100, 0));
        bench.cache().step();
    }
    assert_eq!(bench.cache().stats().promotions, 1);
    assert!(bench.cache().tier_of(&hot, 0) == Some(0) && check(&hot, 100, 0));
    assert_eq!(bench.cache().usage().datasets["a"].bytes, 9 * BLOCK, "moved, not doubled");
}

#[test]
fn a_block_read_once_an_epoch_does_not_displace_one_read_as_often() {
    let (bench, ds) = full_above(4);
    for key in 100..130 {
        insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
    }
    for _ in 0..5 {
        for key in (0..8).chain(100..130) {
            bench.clock.advance(Duration::from_secs(1));
            check(&object(bench.cache(), ds, key, BLOCK), key, 0);
            bench.cache().step();
        }
    }
    assert_eq!(bench.cache().stats().promotions, 0);
}

#[test]
fn promotion_leaves_complete_larger_objects_and_pins_alone() {
    let (bench, ds) = full_above(0);
    for key in 0..8 {
        object(bench.cache(), ds, key, BLOCK).evict();
    }
    let wish = || Landing { tier: Some("t1".into()), pin: false, guest: false };
    let complete = object(bench.cache(), ds, 100, 2 * BLOCK);
    let partial = object(bench.cache(), ds, 101, 2 * BLOCK);
    let pinned = object(bench.cache(), ds, 102, SMALL);
    complete.insert(0, &bytes(100, 2 * BLOCK, 0), wish());
    complete.insert(1, &bytes(100, 2 * BLOCK, 1), wish());
    partial.insert(0, &bytes(101, 2 * BLOCK, 0), wish());
    pinned.insert(0, &bytes(102, SMALL, 0), wish());
    pinned.pin().unwrap();
    for _ in 0..5 {
        bench.clock.advance(Duration::from_secs(2));
        assert!(check(&complete, 100, 0) && check(&partial, 101, 0) && check(&pinned, 102, 0));
        bench.cache().step();
    }
    let tiers = [(&complete, 1), (&partial, 0), (&pinned, 1)];
    assert!(tiers.iter().all(|(object, tier)| bench.cache().tier_of(object, 0) == Some(*tier)));
}

#[test]
fn pinning_gathers_an_object_in_one_tier() {
    let bench = Bench::new(&[8, 8]);
    let ds = bench.dataset("a");
    let size = 3 * BLOCK;
    let object = object(bench.cache(), ds, 1, size);
    for (block, tier) in [(0, "t0"), (1, "t1"), (2, "t1")] {
        object.insert(block, &bytes(1, size, block), Landing { tier: Some(tier.into()), pin: false, guest: false });
    }
    assert!(object.native().is_none(), "not in one tier");
    object.pin().unwrap();
    assert!((0..3).all(|block| bench.cache().tier_of(&object, block) == Some(1) && check(&object, 1, block)));
    assert!(object.native().is_some());
    assert_eq!(bench.cache().usage().datasets["a"].bytes, size);
}

#[test]
fn a_file_handed_out_is_complete_verified_and_not_evicted() {
    let mut bench = Bench::new(&[8]);
    let size = 2 * BLOCK + 9;
    let ds = bench.dataset("a");
    let held = object(bench.cache(), ds, 1, size);
    insert(&held, 1, 0);
    assert!(held.native().is_none());
    insert(&held, 1, 1);
    insert(&held, 1, 2);
    bench.restart();
    let ds = bench.dataset("a");
    let held = object(bench.cache(), ds, 1, size);
    let native = held.native().unwrap();
    assert_eq!((native.tier(), bench.cache().stats().verified), ("t0", 3));
    let second = held.native().unwrap();
    for key in 100..130 {
        insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
    }
    assert!(held.is_complete());
    drop(native);
    for key in 200..230 {
        insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
    }
    assert!(held.is_complete(), "one holder is left");
    // Removed while it is out: its space stays charged until it comes back.
    let charged = bench.cache().usage().tiers[0].charged;
    assert_eq!(held.evict(), size);
    assert_eq!(bench.cache().usage().tiers[0].charged, charged);
    drop(second);
    assert!(bench.cache().usage().tiers[0].charged < charged - size);
}

#[test]
fn a_block_that_is_damaged_later_is_found_by_who_compares_it_anew() {
    let bench = Bench::new(&[8]);
    let object = object(bench.cache(), bench.dataset("a"), 1, 3 * BLOCK);
    for block in 0..3 {
        insert(&object, 1, block);
    }
    let path = bench.disks[0].names().into_iter().find(|name| name.starts_with("objects/")).unwrap();
    let file = crate::io::TierIo::open(&bench.disks[0], &path, crate::io::Mode::Existing).unwrap();
    file.write_at(BLOCK + 77, b"damage").unwrap();
    let mut buf = vec![0; 100];
    assert_eq!(object.read_checked_at(50, &mut buf), Read::Hit(100));
    assert_eq!(object.read_at(BLOCK + 50, &mut buf), Read::Hit(100), "this process wrote it");
    assert_eq!(object.read_checked_at(BLOCK + 200, &mut buf), Read::Miss { block: 1 });
    assert!(!object.has(1) && object.has(0) && object.has(2));
    assert!(is_stored(&insert(&object, 1, 1)));
    assert_eq!(object.read_checked_at(BLOCK + 200, &mut buf), Read::Hit(100));
}

#[test]
fn a_damaged_file_is_not_handed_out() {
    let mut bench = Bench::new(&[8]);
    let ds = bench.dataset("a");
    insert(&object(bench.cache(), ds, 1, SMALL), 1, 0);
    bench.kill();
    let path = bench.disks[0].names().into_iter().find(|name| name.starts_with("objects/")).unwrap();
    let file = crate::io::TierIo::open(&bench.disks[0], &path, crate::io::Mode::Existing).unwrap();
    file.write_at(77, b"damage").unwrap();
    bench.open();
    let ds = bench.dataset("a");
    let object = object(bench.cache(), ds, 1, SMALL);
    assert!(object.native().is_none() && !object.has(0));
    assert!(is_stored(&insert(&object, 1, 0)) && object.native().is_some());
}
