use std::fs;
use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;

use crate::image::{Image, OPTIONS};
use crate::tree::{Node, dir, file, random};
use forebay_erofs::MAX_SIZE;

fn shows(root: &Node) {
    let image = Image::of(root);
    image.check();
    image.mount().shows(root);
}

#[test]
fn a_small_tree() {
    shows(&dir([
        ("a", dir([("b", dir([("c.txt", file(5))])), ("empty", dir::<&str>([]))])),
        ("big", file(1 << 40)),
        ("zero", file(0)),
    ]));
}

#[test]
fn a_root_with_nothing_in_it() {
    shows(&dir::<&str>([]));
}

/// Names around the dots, which are sorted in among them, and names of every length.
#[test]
fn names_of_every_kind() {
    let odd: [&[u8]; 9] = [b"\x01", b"-", b"...", b"..a", b". ", b".\xff", b"/"[..0].as_ref(), b"\xff\xfe", "日本".as_bytes()];
    let odd = odd.into_iter().filter(|name| !name.is_empty()).map(|name| (name.to_vec(), file(1)));
    let long = (1..=255).map(|len| (vec![b'n'; len], file(len as u64)));
    shows(&dir(odd.chain(long)));
}

/// Directories whose names end just before, at, and just behind the end of a block, and of what fits behind an inode.
#[test]
fn directories_of_every_length() {
    const DOTS: usize = 2 * 12 + 3;
    let of_length = |wanted: usize| {
        let mut left = wanted - DOTS;
        let mut names = Vec::new();
        while left > 0 {
            let name = if left <= 12 + 255 { left - 12 } else { (left - 2 * 13).min(150) };
            names.push((format!("{:03}{}", names.len(), "x".repeat(name - 3)), file(names.len() as u64)));
            left -= 12 + name;
        }
        (format!("{wanted:05}"), dir(names))
    };
    let around = |end: usize| end - 30..=end + 30;
    // In each block a few bytes are left over, so ends of later blocks are reached by sweeping a whole block's length.
    let lengths = around(4096 - 64).chain(around(4096)).chain((4200..13_000).step_by(17)).chain(8192 - 64..8192 + 64);
    shows(&dir(lengths.map(of_length)));
}

/// One directory over thousands of blocks, and one entry more at the end of the image than at its beginning.
#[test]
fn a_directory_of_many_blocks() {
    let files = (0..60_000).map(|i| (format!("{i:08}-some-photograph-of-something.jpeg"), file(i)));
    shows(&dir([("wide", dir(files)), ("x", dir([("y", file(3))]))]));
}

#[test]
fn a_path_as_long_as_the_catalog_allows() {
    let deep = (0..14).fold(dir([("f", file(9))]), |inner, level| dir([(format!("{level:02}{}", "d".repeat(250)), inner)]));
    shows(&deep);
}

#[test]
fn files_of_every_size() {
    let sizes = (0..63).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1]);
    shows(&dir(sizes.chain([MAX_SIZE]).map(|size| (format!("{size}"), file(size)))));
}

#[test]
fn df_shows_the_total_and_a_lookup_of_nothing_finds_nothing() {
    let image = Image::of(&dir([("a", file(1))]));
    let mounted = image.mount();
    let df = rustix::fs::fstatvfs(&mounted.fd).unwrap();
    assert_eq!(df.f_blocks * df.f_frsize, OPTIONS.total_bytes);
    assert_eq!(fs::metadata(mounted.path().join("b")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(fs::metadata(mounted.path().join("a")).unwrap().uid(), OPTIONS.uid);
    assert_eq!(image.written.bytes, fs::metadata(image.path()).unwrap().len());
}

/// The root's names lie behind its inode up to one length, and in a block of their own from there on.
#[test]
fn roots_of_every_length_around_a_block() {
    for len in 3_950..4_095 {
        let names = (0..19).map(|n| format!("{n:0>188}")).chain([format!("{:x>1$}", "", len - 3_839)]);
        // Twelve bytes an entry, and as much as its name: `.` and `..` are 27.
        assert_eq!(27 + names.clone().map(|name| 12 + name.len()).sum::<usize>(), len);
        shows(&dir(names.map(|name| (name, file(0)))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_tree(seed: u64, entries in 0usize..2_500) {
        shows(&random(&mut fastrand::Rng::with_seed(seed), entries));
    }
}
