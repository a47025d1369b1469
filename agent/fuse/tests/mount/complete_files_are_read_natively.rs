//! Passthrough: what is proven here is who reads. The twin's own reads fail or are counted, so that right bytes can only have come
//! from the backing file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use forebay_fs::failing::{Fault, Operation};
use forebay_fs::memory::Contents;
use forebay_fs::{FsError, Tree};
use forebay_fuse::MountOptions;
use memmap2::Mmap;
use rustix::thread::CapabilitySet;

use crate::harness::{FOREVER, Failing, Shown, errno, pattern, show, show_with, wait_until};

const SIZE: usize = (3 << 20) + 77;

fn contents() -> Contents {
    (0..4).fold(Contents::new(), |all, at| all.file(format!("f{at}"), expect(at), 0))
}

fn expect(at: u64) -> Bytes {
    pattern(at, SIZE)
}

fn ino(shown: &Shown<Failing>, at: u64) -> u64 {
    shown.tree.lookup(1, format!("f{at}").as_bytes()).unwrap().ino
}

fn open(shown: &Shown<Failing>, at: u64) -> File {
    File::open(shown.path(&format!("f{at}"))).unwrap()
}

/// A file with the right bytes, and no name.
fn backing(at: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&expect(at)).unwrap();
    file
}

fn complete(shown: &Shown<Failing>, at: u64) {
    shown.tree.inner().complete(ino(shown, at), backing(at));
}

fn take_back(shown: &Shown<Failing>, at: u64) -> bool {
    shown.tree.inner().take_back(ino(shown, at))
}

/// Whoever is asked for bytes from now on fails.
fn refuse_reads(shown: &Shown<Failing>) {
    shown.tree.inject(Operation::Read, None, Fault::Error(FsError::Io { message: "not by us".into() }));
}

fn check(file: &File, at: u64) {
    let mut found = vec![0; SIZE + 1];
    let mut length = 0;
    loop {
        match file.read_at(&mut found[length..], length as u64).unwrap() {
            0 => break,
            count => length += count,
        }
    }
    assert!(found[..length] == expect(at), "file {at}: {length} bytes");
}

fn counts(shown: &Shown<Failing>) -> (u64, u64, usize) {
    let opens = shown.mounted().opens();
    (opens.native, opens.served, opens.kept_ids)
}

/// Closing is told to the server later.
fn wait_for_kept(shown: &Shown<Failing>, ids: usize) {
    wait_until("the handles are released", || counts(shown).2 == ids);
}

#[test]
fn f28_a_complete_file_is_read_without_us() {
    let shown = show(&contents());
    complete(&shown, 0);
    refuse_reads(&shown);
    let (first, second) = (open(&shown, 0), open(&shown, 0));
    check(&first, 0);
    check(&second, 0);
    assert_eq!(counts(&shown), (2, 0, 0));
    assert_eq!(shown.mounted().opens().why_not, None);
    drop((first, second));
    wait_for_kept(&shown, 1);
    check(&open(&shown, 0), 0);
    assert_eq!(counts(&shown).0, 3);
    // One that is not complete is read through us.
    assert_eq!(errno(open(&shown, 1).read_at(&mut [0; 8], 0)), libc::EIO);
    assert_eq!(counts(&shown).1, 1);
}

#[test]
fn f28_a_file_that_completes_while_open_is_served_until_it_is_closed() {
    let shown = show(&contents());
    let before = open(&shown, 0);
    complete(&shown, 0);
    let beside = open(&shown, 0);
    check(&before, 0);
    check(&beside, 0);
    assert_eq!(counts(&shown), (0, 2, 0));
    drop((before, beside));
    refuse_reads(&shown);
    wait_until("the next open is native", || {
        let file = open(&shown, 0);
        counts(&shown).0 > 0 && {
            check(&file, 0);
            true
        }
    });
}

#[test]
fn f29_what_its_owner_wants_back_is_given_back_when_nobody_has_it_open() {
    let shown = show(&contents());
    complete(&shown, 0);
    let file = open(&shown, 0);
    assert!(!take_back(&shown, 0), "somebody has it open");
    drop(file);
    wait_for_kept(&shown, 1);
    assert!(take_back(&shown, 0));
    assert_eq!(counts(&shown).2, 0);
    check(&open(&shown, 0), 0);
    assert_eq!(counts(&shown), (1, 1, 0));
}

#[test]
fn f28_ids_are_kept_in_a_bounded_number() {
    let shown = show_with(&contents(), FOREVER, |options| options.kept_ids = 2);
    for at in 0..4 {
        complete(&shown, at);
        check(&open(&shown, at), at);
    }
    let lent = |at| shown.tree.inner().is_lent(ino(&shown, at));
    // Nobody asked for them.
    wait_until("the first two are free", || !lent(0) && !lent(1));
    assert!(lent(2) && lent(3) && counts(&shown).2 == 2);
}

#[test]
fn f29_direct_reads_of_any_shape_and_mappings_are_right() {
    let shown = show(&contents());
    complete(&shown, 0);
    let expect = expect(0);
    let file = open(&shown, 0);
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(shown.path("f0")).unwrap();
    let mut buf = vec![0; 300_000];
    for (offset, length) in [(0, 4096), (1, 4999), (4096, 1 << 18), (SIZE - 10, 4096), (SIZE, 10)] {
        let count = direct.read_at(&mut buf[..length], offset as u64).unwrap();
        assert!(buf[..count] == expect[offset..SIZE.min(offset + length)], "{offset}+{length}: {count}");
    }
    refuse_reads(&shown);
    assert_eq!(counts(&shown), (2, 0, 0));
    for by in [&file, &direct] {
        // SAFETY: nobody changes the backing file.
        let mapped = unsafe { Mmap::map(by) }.unwrap();
        assert!(mapped[..] == expect[..]);
    }
    // SAFETY: as above.
    let mapped = unsafe { Mmap::map(&file) }.unwrap();
    drop((file, direct));
    wait_for_kept(&shown, 1);
    assert!(take_back(&shown, 0));
    assert!(mapped[..] == expect[..], "a mapping outlives its descriptor");
}

#[test]
fn f29_readers_see_right_bytes_whatever_completes_and_goes() {
    let shown = show_with(&contents(), FOREVER, |options| options.kept_ids = 2);
    let (stop, opens) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for reader in 0..6u64 {
            let (shown, stop, opens) = (&shown, &stop, &opens);
            scope.spawn(move || {
                let mut random = 1 + reader;
                while !stop.load(Ordering::Relaxed) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (at, how) = ((random >> 33) % 4, (random >> 40) % 3);
                    let flags = if how == 1 { libc::O_DIRECT } else { 0 };
                    let file = OpenOptions::new().read(true).custom_flags(flags).open(shown.path(&format!("f{at}"))).unwrap();
                    let offset = (random >> 20) as usize % SIZE;
                    let length = 20_000.min(SIZE - offset);
                    let expect = expect_part(at, offset, length);
                    if how == 2 {
                        // SAFETY: nobody changes the files.
                        let mapped = unsafe { Mmap::map(&file) }.unwrap();
                        assert!(mapped[offset..offset + length] == expect[..]);
                    } else {
                        let mut found = vec![0; length];
                        file.read_exact_at(&mut found, offset as u64).unwrap();
                        assert!(found == expect, "file {at}");
                    }
                    opens.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (native, mut round) = (|| shown.mounted().opens().native, 0);
        wait_until("enough was opened both ways", || {
            round += 1;
            complete(&shown, round % 4);
            take_back(&shown, (round + 2) % 4);
            opens.load(Ordering::Relaxed) > 2000 && native() > 200 && counts(&shown).1 > 200
        });
        stop.store(true, Ordering::Relaxed);
    });
}

fn expect_part(at: u64, offset: usize, length: usize) -> Bytes {
    use std::sync::OnceLock;
    static ALL: [OnceLock<Bytes>; 4] = [const { OnceLock::new() }; 4];
    ALL[at as usize].get_or_init(|| expect(at)).slice(offset..offset + length)
}

#[test]
fn f28_switched_off_or_not_permitted_everything_is_served_and_the_reason_told() {
    let off = show_with(&contents(), FOREVER, |options| options.not_native = Some("nobody wants it"));
    complete(&off, 0);
    check(&open(&off, 0), 0);
    assert_eq!(counts(&off), (0, 1, 0));
    assert_eq!(off.mounted().opens().why_not.as_deref(), Some("nobody wants it"));

    if !rustix::process::geteuid().is_root() || !Path::new("/bin/fusermount3").exists() {
        return;
    }
    // The threads that serve have the rights of the one that starts them; without this one it is fusermount3 that mounts.
    let weak = thread::spawn(|| {
        let mut rights = rustix::thread::capabilities(None).unwrap();
        rights.effective.remove(CapabilitySet::SYS_ADMIN);
        rights.permitted.remove(CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, rights).unwrap();
        show_with(&contents(), FOREVER, |_: &mut MountOptions| {})
    });
    let weak = weak.join().unwrap();
    complete(&weak, 0);
    check(&open(&weak, 0), 0);
    check(&open(&weak, 0), 0);
    assert_eq!(counts(&weak), (0, 2, 0));
    assert!(weak.mounted().opens().why_not.is_some_and(|why| why.contains("CAP_SYS_ADMIN")));
}
