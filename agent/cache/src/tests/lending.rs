//! Files that are read natively, and what becomes of them under pressure.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::tools::*;
use crate::io::FileIo;
use crate::*;

const SIZE: u64 = 3 * BLOCK + 9;

fn complete(bench: &Bench, ds: DatasetId, key: u64, size: u64) -> Object {
    let object = object(bench.cache(), ds, key, size);
    for block in 0..object.blocks() {
        assert!(is_stored(&insert(&object, key, block)));
    }
    object
}

/// Evicts whatever may be evicted.
fn press(bench: &Bench) {
    bench.cache().set_dataset("a", DatasetPolicy { quota: Some(0), ..DatasetPolicy::default() });
    bench.dataset("a");
}

fn is_right(file: &dyn FileIo, key: u64, size: u64) -> bool {
    (0..block_count(size)).all(|block| {
        let expected = bytes(key, size, block);
        let mut found = vec![0; expected.len()];
        file.read_at(u64::from(block) * BLOCK, &mut found).unwrap() == found.len() && found == expected
    })
}

/// Keeps a file ready, and gives it up when asked.
fn keep(native: Native) -> Arc<Mutex<Option<Kept>>> {
    let slot = Arc::new(Mutex::new(None));
    let asked = Arc::downgrade(&slot);
    let kept = native.keep_ready(move || {
        asked.upgrade().map(|slot| slot.lock().unwrap().take());
    });
    *slot.lock().unwrap() = Some(kept);
    slot
}

#[test]
fn what_is_kept_ready_is_evicted_after_it_was_asked_for() {
    let bench = Bench::new(&[8]);
    let ds = bench.dataset("a");
    let held = complete(&bench, ds, 1, SIZE);
    let slot = keep(held.native().unwrap());
    assert!(slot.lock().unwrap().is_some());
    // Lent again at once, with nothing read or verified anew.
    let again = held.native().unwrap();
    press(&bench);
    assert!(held.is_complete() && slot.lock().unwrap().is_some(), "it is in use");
    drop(again);
    press(&bench);
    assert!(!held.is_complete() && slot.lock().unwrap().is_none());
}

#[test]
fn no_hole_is_punched_in_a_file_that_is_open_or_mapped_somewhere() {
    for size in [SIZE, 100_000] {
        let bench = Bench::new(&[8]);
        let ds = bench.dataset("a");
        let held = complete(&bench, ds, 1, size);
        let native = held.native().unwrap();
        let file = native.open().unwrap();
        // A mapping outlives the handle that it was made by: the cache hears of its end, not of that of the mapping.
        drop(native);
        press(&bench);
        assert!(is_right(&*file, 1, size) && held.is_complete());
        bench.cache().step();
        press(&bench);
        assert!(is_right(&*file, 1, size) && held.is_complete());
        drop(file);
        bench.cache().step();
        press(&bench);
        assert!(!held.is_complete(), "nobody has it any more");
    }
}

#[test]
fn a_file_that_a_former_process_lent_is_left_alone_while_it_is_open() {
    for known in [true, false] {
        let mut bench = Bench::new(&[8]);
        let ds = bench.dataset("a");
        let file = complete(&bench, ds, 1, SIZE).native().unwrap().open().unwrap();
        bench.cache().flush();
        bench.kill();
        if !known {
            bench.index = crate::index::MemoryIndex::default();
        }
        bench.open();
        let ds = bench.dataset("a");
        if !known {
            bench.recover();
        }
        let held = object(bench.cache(), ds, 1, SIZE);
        for _ in 0..2 {
            press(&bench);
            bench.clock.advance(Duration::from_secs(5));
            bench.cache().step();
            assert!(is_right(&*file, 1, SIZE), "a hole under a reader (index known: {known})");
        }
        drop(file);
        bench.cache().step();
        press(&bench);
        assert!(!held.is_complete());
    }
}

#[test]
fn a_file_that_is_dropped_stays_whole_for_who_has_it_open() {
    let bench = Bench::new(&[8]);
    let ds = bench.dataset("a");
    let held = complete(&bench, ds, 1, SIZE);
    let native = held.native().unwrap();
    let file = native.open().unwrap();
    assert_eq!(held.evict(), SIZE);
    assert!(native.open().is_err(), "what has the name now is another file");
    // The same object lands again, in part, in a file of its own.
    insert(&held, 1, 1);
    assert!(native.open().is_err() && is_right(&*file, 1, SIZE));
    drop(native);
    assert!(is_right(&*file, 1, SIZE) && held.native().is_none());
    let slot = keep({
        insert(&held, 1, 0);
        insert(&held, 1, 2);
        insert(&held, 1, 3);
        held.native().unwrap()
    });
    held.evict();
    assert!(slot.lock().unwrap().is_none(), "who keeps it ready is asked");
    assert_eq!(bench.cache().usage().tiers[0].bytes, 0);
}

#[test]
fn an_open_is_a_use_of_the_whole_file() {
    let bench = Bench::new(&[8]);
    let ds = bench.dataset("a");
    let used = complete(&bench, ds, 1, SIZE);
    let unused = complete(&bench, ds, 2, SIZE);
    bench.cache().set_dataset("a", DatasetPolicy { ttl: Some(Duration::from_secs(10)), ..DatasetPolicy::default() });
    let mut held = None;
    for _ in 0..6 {
        bench.clock.advance(Duration::from_secs(4));
        held = used.native();
    }
    bench.cache().step();
    assert!(used.is_complete() && !unused.is_complete());
    // Nor does it grow old while it is open.
    bench.clock.advance(Duration::from_secs(60));
    drop(held);
    bench.cache().step();
    assert!(used.is_complete());
    bench.clock.advance(Duration::from_secs(60));
    bench.cache().step();
    assert!(!used.is_complete());
}
