#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use super::*;

fn id(n: u32) -> ObjectId {
    ObjectId::derive("s", &n.to_string(), b"", 0)
}

fn all(index: &dyn Index, tier: &str) -> BTreeMap<ObjectId, Vec<u8>> {
    let mut entries = BTreeMap::new();
    index
        .load(tier, &mut |id, value| {
            entries.insert(id, value.to_vec());
            true
        })
        .unwrap();
    entries
}

/// What every index must do.
fn behaves(index: &dyn Index) {
    assert!(all(index, "ram").is_empty());
    assert_eq!(index.token("ram").unwrap(), None);
    index.apply("ram", vec![(id(1), Some(b"a".to_vec())), (id(2), Some(b"b".to_vec()))]).unwrap();
    index.apply("ssd", vec![(id(1), Some(b"c".to_vec()))]).unwrap();
    index.apply("ram", vec![(id(1), Some(b"d".to_vec())), (id(2), None), (id(3), None)]).unwrap();
    index.set_token("ram", Some(7)).unwrap();
    index.flush().unwrap();
    assert_eq!(all(index, "ram"), BTreeMap::from([(id(1), b"d".to_vec())]));
    assert_eq!(all(index, "ssd"), BTreeMap::from([(id(1), b"c".to_vec())]));
    assert_eq!((index.token("ram").unwrap(), index.token("ssd").unwrap()), (Some(7), None));
    index.set_token("ram", None).unwrap();
    assert_eq!(index.token("ram").unwrap(), None);
    index.apply("ssd", vec![(id(9), Some(vec![]))]).unwrap();
    let mut seen = 0;
    index
        .load("ssd", &mut |_, _| {
            seen += 1;
            false
        })
        .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn memory_and_failing_behave() {
    behaves(&MemoryIndex::default());
    let failing = FailingIndex::default();
    behaves(&failing);
    failing.fail(true);
    assert!(failing.flush().is_err() && failing.token("ram").is_err());
}

#[test]
fn sled_behaves_and_keeps_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    behaves(&SledIndex::new(&path));
    let again = SledIndex::new(&path);
    assert_eq!(all(&again, "ram"), BTreeMap::from([(id(1), b"d".to_vec())]));
}

/// What a process holds that was forked while the index was open and has not run its program yet.
fn locked(path: &std::path::Path) -> std::fs::File {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path.join("db")).unwrap();
    // Waits: sled's own threads, or another test's child, may hold it for a moment.
    file.lock().unwrap();
    file
}

#[test]
fn a_sled_that_is_locked_for_a_moment_is_waited_for_and_keeps_what_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    behaves(&SledIndex::new(&path));
    let other = locked(&path);
    let again = std::thread::spawn({
        let path = path.clone();
        move || all(&SledIndex::new(path), "ram")
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(other);
    assert_eq!(again.join().unwrap(), BTreeMap::from([(id(1), b"d".to_vec())]));
}

#[test]
fn a_sled_that_another_process_has_is_refused_and_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    behaves(&SledIndex::new(&path));
    let other = locked(&path);
    let refused = SledIndex::new(&path).flush().unwrap_err();
    assert!(refused.0.contains("in use by another process"), "{refused}");
    drop(other);
    assert_eq!(all(&SledIndex::new(&path), "ram"), BTreeMap::from([(id(1), b"d".to_vec())]));
}

#[test]
fn a_damaged_sled_is_replaced_or_read_but_never_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = SledIndex::new(&path);
    index.apply("ssd", (0..2000).map(|n| (id(n), Some(vec![1; 30]))).collect()).unwrap();
    index.flush().unwrap();
    drop(index);
    let files = || std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect::<Vec<_>>();
    for round in 0..6 {
        for file in files() {
            let mut bytes = std::fs::read(&file).unwrap();
            let len = bytes.len();
            match round {
                0 => bytes.truncate(len / 2),
                1 => bytes.iter_mut().skip(20).step_by(97).for_each(|b| *b ^= 0x55),
                2 => bytes.fill(0),
                3 => bytes.fill(0xff),
                4 => bytes.clear(),
                _ => bytes.iter_mut().take(64).for_each(|b| *b = b.wrapping_add(1)),
            }
            std::fs::write(&file, bytes).unwrap();
        }
        let index = SledIndex::new(&path);
        let _ = index.load("ssd", &mut |_, _| true);
        index.apply("ssd", vec![(id(1), Some(vec![2]))]).unwrap();
        index.flush().unwrap();
    }
}

#[test]
fn entries_round_trip_and_strangers_are_rejected() {
    let mut entry = Entry { size: 10 << 20, dataset: u64::MAX, pinned: true, accessed: 5, present: vec![] };
    for block in [0, 3, 9] {
        entry.set(block);
    }
    assert_eq!(entry.blocks().collect::<Vec<_>>(), [0, 3, 9]);
    let raw = entry.encode(&id(1));
    assert_eq!(Entry::decode(&id(1), &raw), Some(entry));
    assert_eq!(Entry::decode(&id(2), &raw), None);
    for cut in 0..raw.len() {
        assert_eq!(Entry::decode(&id(1), &raw[..cut]), None);
        let mut other = raw.clone();
        other[cut] ^= 4;
        assert_eq!(Entry::decode(&id(1), &other), None);
    }
}
