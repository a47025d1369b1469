use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

use forebay_fs::memory::Contents;
use memmap2::{Mmap, MmapOptions};

use crate::harness::{Failing, Shown, pattern, run, show};

const SIZES: [usize; 9] = [0, 1, 4095, 4096, 4097, 131_072, 1 << 20, (1 << 20) + 1, 9_437_184 + 77];

fn files() -> Contents {
    SIZES
        .iter()
        .enumerate()
        .fold(Contents::new(), |all, (at, size)| all.file(format!("d{}/f{at}", at % 3), pattern(at as u64, *size), 0))
}

fn open(shown: &Shown<Failing>, at: usize) -> File {
    File::open(shown.path(&format!("d{}/f{at}", at % 3))).unwrap()
}

#[test]
fn f01_whole_files_are_their_bytes_warm_and_cold() {
    for cold in [false, true] {
        let shown = show(&files());
        shown.tree.set_cold(cold);
        for (at, size) in SIZES.iter().enumerate() {
            let mut found = Vec::new();
            open(&shown, at).read_to_end(&mut found).unwrap();
            assert!(found == pattern(at as u64, *size), "file {at}, cold {cold}: {} bytes", found.len());
        }
        // A second time out of the page cache.
        let mut found = Vec::new();
        open(&shown, 8).read_to_end(&mut found).unwrap();
        assert!(found == pattern(8, SIZES[8]));
    }
}

#[test]
fn f01_programs_read_the_tree() {
    let shown = show(&files());
    let found = run("find", &[".", "-type", "f"], &shown.root());
    let mut names: Vec<_> = found.lines().collect();
    names.sort_unstable();
    assert_eq!(names.len(), SIZES.len());
    assert_eq!((names[0], names[8]), ("./d0/f0", "./d2/f8"));
    let long = run("ls", &["-lR", "--time-style=+%s"], &shown.root());
    assert!(long.contains("9437261 0 f8"), "{long}");
    assert_eq!(run("sh", &["-c", "cat d1/f1 | wc -c"], &shown.root()).trim(), "1");
    let sum: u64 = SIZES.iter().map(|size| *size as u64).sum();
    let counted = run("sh", &["-c", "cat d0/f* d1/f* d2/f* | wc -c"], &shown.root());
    assert_eq!(counted.trim(), sum.to_string());
    assert_eq!(run("sh", &["-c", "tar cf - . | tar tf - | wc -l"], &shown.root()).trim(), "13");
}

#[test]
fn f01_sixteen_readers_at_random_offsets_agree_with_the_source() {
    let shown = show(&files());
    let expect = pattern(8, SIZES[8]);
    for cold in [true, false] {
        shown.tree.set_cold(cold);
        thread::scope(|scope| {
            for reader in 0..16u64 {
                let (shown, expect) = (&shown, &expect);
                scope.spawn(move || {
                    let file = open(shown, 8);
                    let places = pattern(1000 + reader, 16 * 60);
                    let mut buf = vec![0; 300_000];
                    for place in places.chunks_exact(16) {
                        let word = |at: usize| u64::from_le_bytes(place[at..at + 8].try_into().unwrap()) as usize;
                        let (offset, length) = (word(0) % (expect.len() + 10_000), 1 + word(8) % buf.len());
                        let count = file.read_at(&mut buf[..length], offset as u64).unwrap();
                        let start = offset.min(expect.len());
                        let wanted = &expect[start..expect.len().min(start + length)];
                        assert!(count > 0 || wanted.is_empty());
                        assert!(buf[..count] == wanted[..count], "reader {reader}, {count} bytes at {offset}");
                    }
                });
            }
        });
    }
}

#[test]
fn f02_direct_io_reads_past_the_page_cache() {
    let shown = show(&files());
    let expect = pattern(8, SIZES[8]);
    for cold in [false, true] {
        shown.tree.set_cold(cold);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(shown.path("d2/f8")).unwrap();
        let mut buf = vec![0; 3 << 20];
        for (offset, length) in [(0, 4096), (1, 4999), (4096, 3 << 20), (9_437_184, 4096), (9_437_261, 4096), (1 << 30, 10)] {
            let count = file.read_at(&mut buf[..length], offset as u64).unwrap();
            let start = expect.len().min(offset);
            assert!(buf[..count] == expect[start..expect.len().min(start + length)], "{offset}+{length}: {count}");
        }
    }
}

#[test]
fn f02_mapped_files_are_their_bytes() {
    let shown = show(&files());
    let expect = pattern(8, SIZES[8]);
    for cold in [true, false] {
        shown.tree.set_cold(cold);
        let file = open(&shown, 8);
        // SAFETY: nobody can change the file under the mapping: the mount is read-only and the twin never changes a version.
        let shared = unsafe { Mmap::map(&file) }.unwrap();
        assert!(shared[..] == expect[..]);
        // SAFETY: as above; what is written goes to this process's own copy of the pages.
        let mut private = unsafe { MmapOptions::new().map_copy(&file) }.unwrap();
        private[4096] ^= 0xff;
        assert_ne!(private[4096], expect[4096]);
        assert!(private[4097..] == expect[4097..]);
        drop(private);
        // What a process wrote to its private copy is nobody else's.
        assert_eq!(shared[4096], expect[4096]);
    }
}

#[test]
fn f02_data_leaves_by_sendfile_and_copy_file_range() {
    let shown = show(&files());
    let expect = pattern(8, SIZES[8]);
    for cold in [true, false] {
        shown.tree.set_cold(cold);
        let target = tempfile::tempfile().unwrap();
        let mut sent = 0;
        let mut offset = 0u64;
        while sent < expect.len() {
            let count = rustix::fs::sendfile(&target, open(&shown, 8), Some(&mut offset), expect.len() - sent).unwrap();
            assert!(count > 0);
            sent += count;
        }
        let mut found = vec![0; expect.len()];
        target.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expect, "sendfile");

        // Between file systems the kernel may say EXDEV, upon which std and cp copy by hand: tried as programs do it.
        let mut source = open(&shown, 8);
        let mut target = tempfile::tempfile().unwrap();
        std::io::copy(&mut source, &mut target).unwrap();
        target.flush().unwrap();
        target.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expect, "copy");
        match rustix::fs::copy_file_range(open(&shown, 8), None, &target, None, 4096) {
            Ok(count) => assert_eq!(count, 4096),
            Err(error) => assert_eq!(error, rustix::io::Errno::XDEV),
        }
    }
    let copy = tempfile::tempdir().unwrap();
    run("cp", &["-r", ".", copy.path().to_str().unwrap()], &shown.root());
    run("diff", &["-r", ".", copy.path().to_str().unwrap()], &shown.root());
}

#[test]
fn f03_seeking_knows_data_and_the_hole_at_the_end() {
    use rustix::fs::SeekFrom;
    let shown = show(&files());
    let file = open(&shown, 8);
    let size = SIZES[8] as u64;
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(5)), Ok(5));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Hole(5)), Ok(size));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(size)), Err(rustix::io::Errno::NXIO));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::End(-7)), Ok(size - 7));
    assert_eq!(rustix::fs::seek(&file, SeekFrom::Start(size + 100)), Ok(size + 100));
    assert_eq!((&file).read(&mut [0; 8]).unwrap(), 0);
}
