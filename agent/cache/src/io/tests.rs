#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::*;

/// What every tier must do, whatever it lies on.
fn behaves(io: &dyn TierIo) {
    io.prepare().unwrap();
    io.prepare().unwrap();
    assert!(io.list("objects/ab").unwrap().is_empty());
    assert!(io.stat("objects/ab/x").unwrap().is_none());
    assert!(io.attribute("objects/ab/x").unwrap().is_none());
    assert_eq!(io.open("objects/ab/x", Mode::Existing).err().unwrap().raw_os_error(), Some(2));
    io.unlink("objects/ab/x").unwrap();

    assert!(io.free().unwrap() > 0);
    let file = io.open("objects/ab/x", Mode::Create).unwrap();
    file.set_len(300_000).unwrap();
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().len, 300_000);
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().allocated, 0);
    file.write_at(4096, &[7; 8192]).unwrap();
    file.write_at(299_990, &[9; 10]).unwrap();
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().len, 300_000);
    let mut buf = [1; 12];
    assert_eq!(file.read_at(12_286, &mut buf).unwrap(), 12);
    assert_eq!(buf, [7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(file.read_at(299_995, &mut buf).unwrap(), 5);
    assert_eq!(file.read_at(400_000, &mut buf).unwrap(), 0);

    file.punch(4096, 8192).unwrap();
    file.read_at(4096, &mut buf).unwrap();
    assert_eq!(buf, [0; 12]);
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().allocated, 4096);
    file.punch(299_008, 4096).unwrap();
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().allocated, 0);
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().len, 300_000);

    file.set_len(5000).unwrap();
    file.write_at(0, &[3; 5000]).unwrap();
    file.set_len(4000).unwrap();
    file.set_len(5000).unwrap();
    file.read_at(3999, &mut buf).unwrap();
    assert_eq!(buf, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.sync().unwrap();

    if file.set_attribute(b"one").is_ok() {
        file.set_attribute(b"other").unwrap();
        assert_eq!(file.attribute().unwrap().unwrap(), b"other");
        assert_eq!(io.attribute("objects/ab/x").unwrap().unwrap(), b"other");
        file.clear_attribute().unwrap();
    }
    file.clear_attribute().unwrap();
    assert_eq!(file.attribute().unwrap(), None);

    io.open("tmp/t", Mode::Replace).unwrap().write_at(0, b"rather old").unwrap();
    io.open("tmp/t", Mode::Create).unwrap().write_at(7, b"OLD").unwrap();
    assert_eq!(io.stat("tmp/t").unwrap().unwrap().len, 10);
    io.open("tmp/t", Mode::Replace).unwrap().write_at(0, b"new").unwrap();
    io.rename("tmp/t", "objects/ab/x").unwrap();
    io.open("tmp/t", Mode::Create).unwrap();
    io.rename("tmp/t", "objects/cd/y").unwrap();
    assert_eq!(io.stat("objects/ab/x").unwrap().unwrap().len, 3);
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 12, "the old file lives as long as it is open");
    assert_eq!(io.list("objects/ab").unwrap(), ["x"]);
    let mut prefixes = io.list("objects").unwrap();
    prefixes.sort();
    assert_eq!(prefixes, ["ab", "cd"]);
    io.unlink("objects/ab/x").unwrap();
    assert!(io.stat("objects/ab/x").unwrap().is_none());
}

#[test]
fn disk_behaves() {
    let dir = tempfile::tempdir().unwrap();
    behaves(&DiskIo::new(dir.path().join("tier")));
}

#[test]
fn memory_behaves() {
    behaves(&MemoryIo::new(1 << 30, true));
    behaves(&MemoryIo::new(1 << 30, false));
}

#[test]
fn failing_behaves_without_faults() {
    behaves(&FailingIo::new(Arc::new(MemoryIo::new(1 << 30, true)), Faults::default()));
}

#[test]
fn two_owners_of_a_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = DiskIo::new(dir.path());
    first.prepare().unwrap();
    assert_eq!(DiskIo::new(dir.path()).prepare().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    DiskIo::new(dir.path()).prepare().unwrap();
}

#[test]
fn an_unprepared_directory_fails_with_an_error() {
    let io = DiskIo::new("/proc/nowhere");
    assert!(io.prepare().is_err());
    assert!(io.free().is_err());
}

#[test]
fn memory_ends() {
    let io = MemoryIo::new(10 * 4096, true);
    let file = io.open("x", Mode::Create).unwrap();
    assert_eq!(file.write_at(0, &[1; 11 * 4096]).unwrap_err().raw_os_error(), Some(28));
    assert_eq!(io.free().unwrap(), 0);
    file.punch(0, 4096).unwrap();
    assert_eq!(io.free().unwrap(), 4096);
}

#[test]
fn faults_come_and_go() {
    let faults = Faults::default();
    let io = FailingIo::new(Arc::new(MemoryIo::new(1 << 30, true)), faults.clone());
    let file = io.open("x", Mode::Create).unwrap();
    for (op, errno) in [(Op::Read, 5), (Op::Write, 28), (Op::Attribute, 95), (Op::Free, 30)] {
        faults.fail(op, errno);
        let mut results = [
            (Op::Read, file.read_at(0, &mut [0]).err()),
            (Op::Write, file.write_at(0, &[0]).err()),
            (Op::Attribute, file.set_attribute(b"").err()),
            (Op::Free, file.punch(0, 1).err()),
        ];
        for (kind, error) in &mut results {
            let hit = *kind == op || (op == Op::Write && *kind == Op::Attribute);
            assert_eq!(error.take().and_then(|e| e.raw_os_error()), hit.then_some(errno), "{op:?} {kind:?}");
        }
        faults.mend();
    }
    faults.die_after(1);
    file.write_at(0, b"whole").unwrap();
    assert!(file.write_at(10, b"torn!!").is_err());
    assert!(file.punch(0, 1).is_err() && file.read_at(0, &mut [0]).is_err());
    faults.mend();
    let mut buf = [0; 16];
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 13);
    assert_eq!(&buf[..13], b"whole\0\0\0\0\0tor");
}

#[test]
fn an_erased_tier_leaves_only_what_others_put_there() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("tier");
    erase(&dir).unwrap();
    let io = DiskIo::new(&dir);
    io.prepare().unwrap();
    io.open("objects/ab/x", Mode::Create).unwrap().set_len(10).unwrap();
    io.published().unwrap().unwrap();
    io.publish("objects/ab/x").unwrap();
    io.open("ledger", Mode::Create).unwrap();
    drop(io);
    std::fs::write(dir.join("lost+found"), "a stranger's").unwrap();
    erase(&dir).unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["lost+found"]);
    std::fs::remove_file(dir.join("lost+found")).unwrap();
    erase(&dir).unwrap();
    assert!(!dir.exists());
}
