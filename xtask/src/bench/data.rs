use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::BenchArgs;
use crate::speed::{in_threads, shuffled, xorshift};

/// The files that every contender shows.
#[derive(Debug)]
pub(super) struct Data {
    /// The tree on the kernel's own file system.
    pub(super) root: PathBuf,
    /// The four large ones.
    pub(super) big: Vec<PathBuf>,
    /// The small ones, a hundred to a directory.
    pub(super) small: Vec<PathBuf>,
}

impl Data {
    /// Writes the files: bytes that do not compress, the same in every run.
    pub(super) fn make(root: &Path, args: &BenchArgs) -> Result<Self> {
        let big: Vec<_> = (0..4).map(|n| root.join(format!("big/{n}"))).collect();
        let small: Vec<_> = (0..args.small_files).map(|n| root.join(format!("small/{:04}/{n:06}", n / 100))).collect();
        let all: Vec<_> =
            big.iter().map(|p| (p, args.big_mib << 20)).chain(small.iter().map(|p| (p, args.small_kib << 10))).collect();
        in_threads(2, |thread| {
            for (n, (path, size)) in all.iter().enumerate().skip(thread).step_by(2) {
                write(path, *size, n as u64 + 1)?;
            }
            Ok(())
        })?;
        Ok(Self { root: root.to_path_buf(), big, small })
    }

    /// At most `n` small files, spread over all directories.
    pub(super) fn some_small(&self, n: usize) -> Vec<PathBuf> {
        let step = (self.small.len() / n.max(1)).max(1);
        self.small.iter().step_by(step).take(n).cloned().collect()
    }

    /// The same in an order that looks random, another for each seed.
    pub(super) fn shuffled_small(&self, n: usize, seed: u64) -> Vec<PathBuf> {
        let some = self.some_small(n);
        shuffled(some.len() as u64, seed).map(|at| some[at as usize].clone()).collect()
    }
}

fn write(path: &Path, size: u64, seed: u64) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let (mut state, mut left) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), size as usize);
    let mut block = Vec::with_capacity(1 << 20);
    while left > 0 {
        block.clear();
        while block.len() < left.min(1 << 20) {
            state = xorshift(state);
            block.extend_from_slice(&state.to_le_bytes());
        }
        block.truncate(left.min(1 << 20));
        file.write_all(&block).with_context(|| format!("write {}", path.display()))?;
        left -= block.len();
    }
    Ok(())
}
