use std::time::Duration;

use super::tools::*;
use crate::io::Op;
use crate::*;

const SMALL: u64 = 100_000;
const LARGE: u64 = 3 * BLOCK + 77;

#[test]
fn what_was_inserted_is_read_and_nothing_else() {
    for attributes in [true, false] {
        let bench = Bench::with_attributes(&[16], attributes);
        let ds = bench.dataset("a");
        for size in [1, SMALL, BLOCK, BLOCK + 1, LARGE] {
            let object = object(bench.cache(), ds, 1, size);
            assert_eq!((object.present_bytes(), object.is_complete()), (0, false));
            assert_eq!(object.read_at(0, &mut [0; 10]), Read::Miss { block: 0 });
            for block in (0..object.blocks()).rev() {
                assert!(!object.has(block) && !check(&object, 1, block));
                assert!(is_stored(&insert(&object, 1, block)));
                assert!(object.has(block) && check(&object, 1, block));
                assert!(is_stored(&insert(&object, 1, block)), "again");
            }
            assert_eq!((object.present_bytes(), object.is_complete()), (size, true));
            assert_eq!(object.read_at(size, &mut [0; 10]), Read::Hit(0));
            assert_eq!(object.read_at(size - 1, &mut [0; 10]), Read::Hit(1));
            assert_eq!(object.read_at(u64::MAX, &mut [0; 10]), Read::Hit(0));
        }
        assert_eq!(bench.cache().stats().inserted, 1 + 1 + 1 + 2 + 4);
    }
}

#[test]
fn reads_span_blocks_and_stop_where_the_next_is_missing() {
    let bench = Bench::new(&[16]);
    let object = object(bench.cache(), bench.dataset("a"), 1, LARGE);
    for block in [0, 1, 3] {
        insert(&object, 1, block);
    }
    let whole: Vec<u8> = (0..4).flat_map(|block| bytes(1, LARGE, block)).collect();
    let mut buf = vec![0; LARGE as usize];
    for (offset, len, expected) in
        [(0, LARGE, 2 * BLOCK), (BLOCK - 5, 10, 10), (2 * BLOCK - 5, 10, 5), (3 * BLOCK, 1000, 77), (3 * BLOCK + 76, 1, 1)]
    {
        let n = expected as usize;
        assert_eq!(object.read_at(offset, &mut buf[..len as usize]), Read::Hit(n), "{offset}");
        assert!(buf[..n] == whole[offset as usize..offset as usize + n]);
    }
    assert_eq!(object.read_at(2 * BLOCK + 5, &mut buf), Read::Miss { block: 2 });
    let missing = |blocks| object.missing(blocks).into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>();
    assert_eq!((missing(0..4), missing(2..100), missing(0..2)), (vec![(2, 3)], vec![(2, 3)], vec![]));
}

#[test]
fn a_block_evicted_under_a_reader_is_a_miss_and_never_a_hole() {
    let size = 3 * BLOCK;
    for verified in [true, false] {
        for again in [false, true] {
            for block in 0..3 {
                let mut bench = Bench::new(&[16]);
                let mut object = object(bench.cache(), bench.dataset("a"), 1, size);
                (0..3).for_each(|block| drop(insert(&object, 1, block)));
                if !verified {
                    bench.restart();
                    object = super::tools::object(bench.cache(), bench.dataset("a"), 1, size);
                }
                let (cache, other) = (bench.cache().clone(), object.clone());
                bench.faults[0].before_read(move || {
                    let policy = |blocks: u64| DatasetPolicy { quota: Some(blocks * BLOCK), ..DatasetPolicy::default() };
                    // One block stays, so that the others are punched out of a file that lives on.
                    cache.set_dataset("a", policy(1));
                    cache.set_dataset("a", policy(100));
                    if again {
                        (0..3).for_each(|block| drop(insert(&other, 1, block)));
                    }
                });
                let mut buf = vec![1; BLOCK as usize];
                if let Read::Hit(n) = object.read_at(u64::from(block) * BLOCK, &mut buf) {
                    assert!(buf[..n] == bytes(1, size, block)[..n], "a hole was served: {verified} {again} {block}");
                }
            }
        }
    }
}

#[test]
fn an_empty_object_is_complete_without_a_file() {
    let bench = Bench::new(&[16]);
    let object = object(bench.cache(), bench.dataset("a"), 1, 0);
    assert!(object.is_complete() && object.pin().is_ok());
    assert_eq!((object.blocks(), object.read_at(0, &mut [0; 4])), (0, Read::Hit(0)));
    assert_eq!(object.insert(0, &[], Landing::default()), Inserted::Refused(Reason::WrongLength));
}

#[test]
fn data_of_the_wrong_length_is_refused() {
    let bench = Bench::new(&[16]);
    let object = object(bench.cache(), bench.dataset("a"), 1, LARGE);
    for (block, len) in [(0, BLOCK - 1), (0, BLOCK + 1), (3, 76), (3, 78), (4, 0), (4, 10)] {
        let refused = object.insert(block, &vec![0; len as usize], Landing::default());
        assert_eq!(refused, Inserted::Refused(Reason::WrongLength), "{block} {len}");
    }
    assert_eq!(bench.cache().stats().refused[&Reason::WrongLength], 6);
}

#[test]
fn a_restart_finds_everything_with_the_index_and_without_it() {
    for attributes in [true, false] {
        for loss in ["none", "killed", "index lost", "index old"] {
            let mut bench = Bench::with_attributes(&[16], attributes);
            let old = bench.index.snapshot();
            let ds = bench.dataset("a");
            for (key, size) in [(1, SMALL), (2, LARGE)] {
                let object = object(bench.cache(), ds, key, size);
                (0..object.blocks()).filter(|block| *block != 1).for_each(|block| drop(insert(&object, key, block)));
            }
            let used = bench.cache().usage().tiers;
            match loss {
                "none" => bench.restart(),
                _ => {
                    bench.kill();
                    match loss {
                        "index lost" => bench.index = Default::default(),
                        "index old" => bench.index = old,
                        _ => {}
                    }
                    bench.open();
                }
            }
            let ds = bench.dataset("a");
            let (small, large) = (object(bench.cache(), ds, 1, SMALL), object(bench.cache(), ds, 2, LARGE));
            assert!(bench.cache().usage().tiers[0].charged >= used[0].charged, "{loss}");
            assert_eq!((large.present_bytes(), large.has(1)), (LARGE - BLOCK, false), "{loss}");
            assert!(check(&small, 1, 0) && check(&large, 2, 0) && !check(&large, 2, 1) && check(&large, 2, 3), "{loss}");
            bench.recover();
            assert_eq!(bench.cache().usage().tiers, used, "{loss}");
            assert_eq!(bench.cache().usage().datasets["a"].bytes, SMALL + LARGE - BLOCK, "{loss}");
        }
    }
}

#[test]
fn pins_hold_against_everything_and_outlive_a_restart() {
    for killed in [false, true] {
        let mut bench = Bench::new(&[8]);
        let ds = bench.dataset("a");
        let pinned = object(bench.cache(), ds, 1, 2 * BLOCK);
        insert(&pinned, 1, 0);
        pinned.pin().unwrap();
        pinned.pin().unwrap();
        insert(&pinned, 1, 1);
        let absent = object(bench.cache(), ds, 2, SMALL);
        absent.pin().unwrap();
        if killed {
            bench.kill();
            bench.open();
            bench.recover();
        } else {
            bench.restart();
        }
        let ds = bench.dataset("a");
        for key in 100..140 {
            assert!(is_stored(&insert(&object(bench.cache(), ds, key, BLOCK), key, 0)));
        }
        let (pinned, absent) = (object(bench.cache(), ds, 1, 2 * BLOCK), object(bench.cache(), ds, 2, SMALL));
        assert!(pinned.is_pinned() && absent.is_pinned() && !absent.has(0));
        assert!(check(&pinned, 1, 0) && check(&pinned, 1, 1));
        assert!(is_stored(&insert(&absent, 2, 0)) && check(&absent, 2, 0));
        assert_eq!(bench.cache().usage().datasets["a"].pinned, 2 * BLOCK + SMALL);
        pinned.unpin();
        absent.unpin();
        assert_eq!(bench.cache().usage().datasets["a"].pinned, 0);
        for key in 200..300 {
            insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
            bench.clock.advance(Duration::from_secs(2));
        }
    }
}

#[test]
fn a_pin_that_cannot_be_kept_is_refused_and_says_why() {
    let bench = Bench::new(&[8]);
    let ds = bench.dataset("a");
    let error = object(bench.cache(), ds, 1, 100 * BLOCK).pin().unwrap_err();
    assert!(matches!(error, PinError::NoRoom { .. }) && error.to_string().contains("raise the tier's capacity"), "{error}");
    let narrow = bench.cache().set_dataset("narrow", DatasetPolicy { quota: Some(BLOCK), ..DatasetPolicy::default() });
    let error = object(bench.cache(), narrow, 1, 2 * BLOCK).pin().unwrap_err();
    assert!(matches!(error, PinError::Quota { quota: BLOCK, .. }), "{error}");
    let pinned = (0..100).filter(|key| object(bench.cache(), ds, *key, BLOCK).pin().is_ok()).count();
    assert!((4..8).contains(&pinned), "{pinned}");
    let landing = Landing { pin: true, ..Landing::default() };
    assert_eq!(object(bench.cache(), ds, 999, BLOCK).insert(0, &bytes(999, BLOCK, 0), landing), Inserted::Refused(Reason::Pin));
}

#[test]
fn quotas_hold_and_a_lowered_one_is_enforced_at_once() {
    let bench = Bench::new(&[16]);
    let policy = |blocks: u64| DatasetPolicy { quota: Some(blocks * BLOCK), ..DatasetPolicy::default() };
    let ds = bench.cache().set_dataset("a", policy(4));
    let other = bench.dataset("b");
    insert(&object(bench.cache(), other, 50, BLOCK), 50, 0);
    for key in 0..10 {
        assert!(is_stored(&insert(&object(bench.cache(), ds, key, BLOCK), key, 0)));
        assert!(bench.cache().usage().datasets["a"].bytes <= 4 * BLOCK);
    }
    assert_eq!(bench.cache().usage().datasets["a"].bytes, 4 * BLOCK);
    bench.cache().set_dataset("a", policy(1));
    assert_eq!(bench.cache().usage().datasets["a"].bytes, BLOCK);
    assert!(check(&object(bench.cache(), other, 50, BLOCK), 50, 0));
    let large = object(bench.cache(), ds, 70, LARGE);
    large.insert(0, &bytes(70, LARGE, 0), Landing::default());
    bench.cache().set_dataset("a", policy(0));
    assert_eq!(bench.cache().usage().datasets["a"].bytes, 0);
    assert_eq!(insert(&large, 70, 1), Inserted::Refused(Reason::Quota));
}

#[test]
fn what_is_not_read_within_its_ttl_is_freed() {
    let bench = Bench::new(&[16]);
    let ttl = Some(Duration::from_secs(100));
    let ds = bench.cache().set_dataset("a", DatasetPolicy { ttl, ..DatasetPolicy::default() });
    let (read, unread) = (object(bench.cache(), ds, 1, LARGE), object(bench.cache(), ds, 2, SMALL));
    insert(&read, 1, 0);
    insert(&read, 1, 1);
    insert(&unread, 2, 0);
    bench.clock.advance(Duration::from_secs(60));
    check(&read, 1, 0);
    bench.clock.advance(Duration::from_secs(60));
    bench.cache().step();
    assert!(read.has(0) && !read.has(1) && !unread.has(0));
    bench.clock.advance(Duration::from_secs(100));
    bench.cache().step();
    assert_eq!(bench.cache().usage().tiers[0].objects, 0);
    assert!(bench.disks[0].names().iter().all(|name| name == "ledger"), "{:?}", bench.disks[0].names());
}

#[test]
fn removing_a_dataset_frees_everything_and_refuses_what_comes_late() {
    for attributes in [true, false] {
        let bench = Bench::with_attributes(&[16], attributes);
        let (ds, other) = (bench.dataset("a"), bench.dataset("b"));
        let mut expected = 0;
        for (key, size) in [(1, SMALL), (2, LARGE), (3, BLOCK)] {
            let object = object(bench.cache(), ds, key, size);
            (0..object.blocks()).for_each(|block| drop(insert(&object, key, block)));
            expected += size;
        }
        object(bench.cache(), ds, 2, LARGE).pin().unwrap();
        insert(&object(bench.cache(), other, 9, SMALL), 9, 0);
        assert_eq!(bench.cache().remove_dataset("a"), expected);
        assert_eq!(bench.cache().remove_dataset("a"), 0);
        assert_eq!(bench.cache().usage().tiers[0].bytes, SMALL);
        assert_eq!(bench.cache().usage().tiers[0].pinned, 0);
        assert_eq!(insert(&object(bench.cache(), ds, 1, SMALL), 1, 0), Inserted::Refused(Reason::Retired));
        assert_eq!(object(bench.cache(), ds, 1, SMALL).pin(), Err(PinError::Retired));
        assert!(check(&object(bench.cache(), other, 9, SMALL), 9, 0));
        let ds = bench.dataset("a");
        assert!(is_stored(&insert(&object(bench.cache(), ds, 1, SMALL), 1, 0)));
        let files = bench.disks[0].names().into_iter().filter(|name| name != "ledger" && !name.ends_with(".meta")).count();
        assert_eq!(files, 2);
    }
}

#[test]
fn evicting_a_dataset_frees_what_is_not_pinned_and_nothing_of_others() {
    for restarted in [false, true] {
        let mut bench = Bench::new(&[16, 16]);
        let (ds, other) = (bench.dataset("a"), bench.dataset("b"));
        for (key, size) in [(1, SMALL), (2, LARGE), (3, BLOCK)] {
            let object = object(bench.cache(), ds, key, size);
            (0..object.blocks()).for_each(|block| drop(insert(&object, key, block)));
        }
        object(bench.cache(), ds, 3, BLOCK).pin().unwrap();
        insert(&object(bench.cache(), other, 9, SMALL), 9, 0);
        if restarted {
            bench.restart();
            bench.dataset("b");
        }
        let ds = bench.dataset("a");
        assert_eq!(bench.cache().evict_dataset("a"), SMALL + LARGE);
        assert_eq!(bench.cache().evict_dataset("a"), 0);
        assert_eq!(bench.cache().evict_dataset("nobody"), 0);
        let usage = bench.cache().usage();
        assert_eq!((usage.datasets["a"].bytes, usage.datasets["b"].bytes), (BLOCK, SMALL));
        assert!(check(&object(bench.cache(), ds, 3, BLOCK), 3, 0), "pinned");
        assert!(!object(bench.cache(), ds, 2, LARGE).has(0));
        assert!(is_stored(&insert(&object(bench.cache(), ds, 2, LARGE), 2, 0)), "it goes on caching");
    }
}

#[test]
fn what_undeclared_datasets_left_is_served_and_can_be_removed() {
    let mut bench = Bench::new(&[16]);
    let ds = bench.dataset("gone");
    insert(&object(bench.cache(), ds, 1, SMALL), 1, 0);
    insert(&object(bench.cache(), ds, 2, SMALL), 2, 0);
    bench.restart();
    let ds = bench.dataset("new");
    assert!(check(&object(bench.cache(), ds, 1, SMALL), 1, 0), "shared, and inherited by its reader");
    assert_eq!(bench.cache().remove_undeclared(), SMALL);
    assert!(check(&object(bench.cache(), ds, 1, SMALL), 1, 0));
    assert_eq!(bench.cache().usage().datasets["new"].bytes, SMALL);
}

#[test]
fn a_full_disk_refuses_backs_off_and_recovers() {
    let bench = Bench::new(&[16]);
    let ds = bench.dataset("a");
    for (op, errno) in [(Op::Write, 28), (Op::Write, 5), (Op::Write, 30), (Op::Attribute, 5)] {
        for size in [SMALL, LARGE] {
            let object = object(bench.cache(), ds, errno as u64, size);
            bench.faults[0].fail(op, errno);
            assert_eq!(insert(&object, errno as u64, 0), Inserted::Refused(Reason::Faulted));
            bench.faults[0].mend();
            assert_eq!(insert(&object, errno as u64, 0), Inserted::Refused(Reason::Faulted), "backs off");
            let health = &bench.cache().health()[0];
            assert!(matches!(health.state, TierState::Faulted { .. }) && health.last_error.is_some());
            bench.clock.advance(Duration::from_secs(61));
            assert!(is_stored(&insert(&object, errno as u64, 0)), "{op:?} {errno}");
            assert!(check(&object, errno as u64, 0));
            assert_eq!(bench.cache().health()[0].state, TierState::Ready);
            object.evict();
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_gives_misses() {
    let bench = Bench::new(&[16]);
    let object = object(bench.cache(), bench.dataset("a"), 1, LARGE);
    insert(&object, 1, 0);
    insert(&object, 1, 1);
    bench.faults[0].fail(Op::Read, 5);
    assert!(!check(&object, 1, 0));
    assert!(!object.has(0), "so that it is fetched and inserted anew");
    bench.faults[0].mend();
    bench.clock.advance(Duration::from_secs(61));
    assert!(check(&object, 1, 1) && is_stored(&insert(&object, 1, 0)) && check(&object, 1, 0));
}

#[test]
fn a_tier_that_fails_is_stood_in_for_by_the_next() {
    let bench = Bench::new(&[8, 8]);
    let ds = bench.cache().set_dataset("a", DatasetPolicy { landing_tier: Some("t0".into()), ..DatasetPolicy::default() });
    bench.faults[0].fail(Op::Write, 5);
    let object = object(bench.cache(), ds, 1, SMALL);
    assert_eq!(insert(&object, 1, 0), Inserted::Stored { tier: "t1".into() });
    assert!(check(&object, 1, 0));
}

#[test]
fn the_reserve_of_the_file_system_is_kept() {
    let mut bench = Bench::new(&[16]);
    bench.config.tiers[0].reserve = bench.config.tiers[0].capacity * 2 - 5 * BLOCK;
    bench.restart();
    let ds = bench.dataset("a");
    for key in 0..20 {
        insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
        let free = crate::io::TierIo::free(&bench.disks[0]).unwrap();
        assert!(free >= bench.config.tiers[0].reserve, "{free}");
    }
    assert_eq!(bench.cache().usage().tiers[0].blocks, 4);
    // Somebody else fills the file system: the cache gives way.
    let other = crate::io::TierIo::open(&bench.disks[0], "other", crate::io::Mode::Create).unwrap();
    other.write_at(0, &vec![1; 2 << 20]).unwrap();
    bench.cache().step();
    let free = crate::io::TierIo::free(&bench.disks[0]).unwrap();
    assert!(free >= bench.config.tiers[0].reserve, "{free}");
}

/// As with files that the kernel remembers: unlinked, they keep their space.
#[test]
fn a_disk_that_gets_nothing_back_is_not_evicted_for_in_vain() {
    let bench = Bench::new(&[64]);
    let ds = bench.dataset("a");
    let evictions = || bench.cache().stats().evictions;
    let land = |key| insert(&object(bench.cache(), ds, key, BLOCK), key, 0);
    assert!((0..40).all(|key| is_stored(&land(key))));
    // Longer than what it said before is believed.
    bench.clock.advance(Duration::from_secs(2));
    bench.faults[0].report_free(BLOCK / 2);
    assert_eq!(land(100), Inserted::Refused(Reason::Lagging));
    assert_eq!(evictions(), 4);
    for key in 101..120 {
        assert_eq!(land(key), Inserted::Refused(Reason::Lagging));
        bench.cache().step();
    }
    assert_eq!(evictions(), 4, "it was in vain just now");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(land(100), Inserted::Refused(Reason::Lagging));
    assert_eq!(evictions(), 8, "now and then it is tried");
    bench.faults[0].mend();
    assert!(is_stored(&land(100)));
    assert_eq!(evictions(), 8);
}

/// A small file's room is so little that what others write in the meantime is more.
#[test]
fn a_little_that_others_write_meanwhile_does_not_end_evicting() {
    let mut bench = Bench::new(&[64]);
    bench.config.tiers[0].reserve = 4 * BLOCK;
    bench.restart();
    let ds = bench.dataset("a");
    let land = |key: u64| insert(&object(bench.cache(), ds, key, 4096), key, 0);
    assert!((0..3000).all(|key| is_stored(&land(key))));
    bench.clock.advance(Duration::from_secs(2));
    let evictions = || bench.cache().stats().evictions;
    bench.faults[0].report_free(4 * BLOCK);
    assert_eq!(land(5000), Inserted::Refused(Reason::Lagging));
    assert!(evictions() > 100, "{} tell too little", evictions());
}

#[test]
fn a_reserve_that_evicting_does_not_restore_takes_what_it_lacks_and_waits() {
    let mut bench = Bench::new(&[64]);
    let reserve = 8 * BLOCK;
    bench.config.tiers[0].reserve = reserve;
    bench.restart();
    let ds = bench.dataset("a");
    assert!((0..40).all(|key| is_stored(&insert(&object(bench.cache(), ds, key, BLOCK), key, 0))));
    let evicted_by = |steps: usize| {
        let before = bench.cache().stats().evictions;
        (0..steps).for_each(|_| bench.cache().step());
        bench.cache().stats().evictions - before
    };
    bench.faults[0].report_free(reserve - 3 * BLOCK);
    assert_eq!((evicted_by(1), evicted_by(10)), (3, 0));
    bench.clock.advance(Duration::from_secs(15));
    assert_eq!((evicted_by(1), evicted_by(10)), (3, 0), "now and then it is tried");
    bench.faults[0].report_free(reserve - BLOCK);
    assert_eq!((evicted_by(1), evicted_by(10)), (1, 0), "something came back");
    bench.faults[0].mend();
    assert_eq!(evicted_by(1), 0);
}

#[test]
fn without_a_ledger_nothing_is_taken_before_a_scan_but_everything_is_found() {
    let mut bench = Bench::new(&[16]);
    let ds = bench.dataset("a");
    insert(&object(bench.cache(), ds, 1, SMALL), 1, 0);
    bench.kill();
    crate::io::TierIo::unlink(&bench.disks[0], "ledger").unwrap();
    bench.open();
    let ds = bench.dataset("a");
    assert_eq!(insert(&object(bench.cache(), ds, 2, SMALL), 2, 0), Inserted::Refused(Reason::Recovering));
    assert!(check(&object(bench.cache(), ds, 1, SMALL), 1, 0));
    assert!(matches!(object(bench.cache(), ds, 1, SMALL).pin(), Err(PinError::Unavailable { .. })));
    bench.recover();
    assert!(is_stored(&insert(&object(bench.cache(), ds, 2, SMALL), 2, 0)));
    object(bench.cache(), ds, 1, SMALL).pin().unwrap();
}

#[test]
fn an_emptied_tier_voids_its_index() {
    let mut bench = Bench::new(&[16]);
    let ds = bench.dataset("a");
    insert(&object(bench.cache(), ds, 1, SMALL), 1, 0);
    bench.cache().flush();
    bench.kill();
    bench.disks[0] = crate::io::MemoryIo::new(1 << 30, true);
    bench.open();
    let ds = bench.dataset("a");
    assert!(!object(bench.cache(), ds, 1, SMALL).has(0));
    assert_eq!(bench.cache().usage().tiers[0].objects, 0);
    assert!(is_stored(&insert(&object(bench.cache(), ds, 1, SMALL), 1, 0)));
}

#[test]
fn a_closed_cache_finds_nothing_and_takes_nothing() {
    let bench = Bench::new(&[16]);
    let object = object(bench.cache(), bench.dataset("a"), 1, SMALL);
    insert(&object, 1, 0);
    bench.cache().clone().close();
    assert_eq!(insert(&object, 1, 0), Inserted::Refused(Reason::Closed));
    assert!(!object.has(0) && !check(&object, 1, 0) && object.missing(0..1).len() == 1);
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let tier = |name: &str, dir: &str, capacity| TierConfig {
        name: name.into(),
        medium: Medium::Disk,
        dir: dir.into(),
        capacity,
        reserve: 0,
    };
    for (tiers, word) in [
        (vec![], "tiers"),
        (vec![tier("", "/a", 1 << 30)], "no name"),
        (vec![tier("a", "/a", 1000)], "capacity"),
        (vec![tier("a", "/a", 1 << 30), tier("a", "/b", 1 << 30)], "named"),
        (vec![tier("a", "/a", 1 << 30), tier("b", "/a/b", 1 << 30)], "share"),
    ] {
        let error = Cache::open(CacheConfig::new(tiers, "/nowhere")).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}
