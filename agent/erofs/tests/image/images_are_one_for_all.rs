//! Images are shared between nodes and named by their bytes.

use crate::image::Image;
use crate::tree::{dir, file, random};

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let tree = || random(&mut fastrand::Rng::with_seed(7), 3_000);
    assert!(Image::of(&tree()).bytes() == Image::of(&tree()).bytes());
}

/// Peers of different releases give each other images: a change of these bytes needs a new name for images.
#[test]
fn the_bytes_are_those_of_every_release() {
    let root = dir([("a", dir([("b", file(5)), ("c", file(0))])), ("d", file((1 << 43) + 1))]);
    assert_eq!(crc32c::crc32c(&Image::of(&root).bytes()), 721_834_599);
}
