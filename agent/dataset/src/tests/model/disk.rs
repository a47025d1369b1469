//! The tier's files as the disk has them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes that all files below `dir` take, each counted once however many names it has.
pub(super) fn used(dir: &Path) -> u64 {
    let files = files(dir).into_iter().filter_map(|path| path.metadata().ok());
    let sizes: BTreeMap<u64, u64> = files.map(|file| (file.ino(), file.blocks() * 512)).collect();
    sizes.values().sum()
}

/// All files below `dir`, in order. The cache may remove some meanwhile.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Damages one file of the tier, chosen by `seed`. Not a published one: who reads that reads the disk, and nobody compares it with anything
/// until the machine starts again.
pub(super) fn flip_a_bit(dir: &Path, seed: u64) {
    let is_private = |path: &PathBuf| path.metadata().is_ok_and(|file| file.nlink() == 1);
    let files: Vec<PathBuf> = files(dir).into_iter().filter(is_private).collect();
    let Some(path) = (!files.is_empty()).then(|| &files[usize::try_from(seed).unwrap_or(usize::MAX) % files.len()]) else {
        return;
    };
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    if len > 0 {
        let (at, mut byte) = (seed % len, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (seed % 8)], at).unwrap();
    }
}
