//! Reading files and taking the time.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{Advice, fadvise};

/// Bytes a call in sequential reads.
const CHUNK: usize = 1 << 20;
/// Threads where no time is taken: opening ten thousand files of a slow mount one by one would take longer than what is measured.
const UNTIMED: usize = 4;

/// Reads files with `threads` threads, each whole and in order. Gives bytes and time.
pub(crate) fn read_files(paths: &[PathBuf], threads: usize) -> Result<(u64, Duration)> {
    let bytes = AtomicU64::new(0);
    let start = Instant::now();
    for_each(paths, threads, |path, buffer| {
        bytes.fetch_add(read_whole(&open(path)?, path, buffer)?, Ordering::Relaxed);
        Ok(())
    })?;
    Ok((bytes.into_inner(), start.elapsed()))
}

/// Reads files whole, so that the kernel has in memory what lies below their mount, and leaves the mount itself without their pages.
/// It has none before either: with them the kernel would ask nobody below.
pub(crate) fn read_below(paths: &[PathBuf]) -> Result<()> {
    for_each(paths, UNTIMED, |path, buffer| {
        let file = open(path)?;
        forget(&file, path)?;
        read_whole(&file, path, buffer)?;
        forget(&file, path)
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}

fn read_whole(mut file: &File, path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut bytes = 0;
    loop {
        match file.read(buffer).with_context(|| format!("read {}", path.display()))? {
            0 => return Ok(bytes),
            n => bytes += n as u64,
        }
    }
}

/// Time from before `open` until the first 4 KiB are there.
pub(crate) fn first_byte(path: &Path) -> Result<Duration> {
    let start = Instant::now();
    let file = open(path)?;
    file.read_exact_at(&mut [0; 4096], 0).with_context(|| format!("read {}", path.display()))?;
    Ok(start.elapsed())
}

/// Reads `size` bytes at random places, multiples of it, until `limit` has passed or every place was read once; gives the latency of
/// each read.
///
/// No place is read twice: the second time it would come from the kernel's page cache, whoever serves the file.
pub(crate) fn random_reads(path: &Path, size: usize, limit: Duration, seed: u64) -> Result<Vec<Duration>> {
    let file = open(path)?;
    let places = file.metadata()?.len() / size as u64;
    let (mut buffer, mut taken) = (vec![0; size], Vec::new());
    let end = Instant::now() + limit;
    for place in shuffled(places, seed) {
        let start = Instant::now();
        if start >= end {
            break;
        }
        file.read_exact_at(&mut buffer, place * size as u64).with_context(|| format!("read {}", path.display()))?;
        taken.push(start.elapsed());
    }
    Ok(taken)
}

/// Each number below `n` once, in an order that looks random: a full-period generator modulo the next power of two
/// (Hull and Dobell: odd increment, multiplier 1 modulo 4), without the numbers that are too large.
pub(crate) fn shuffled(n: u64, seed: u64) -> impl Iterator<Item = u64> {
    let mask = n.next_power_of_two().wrapping_sub(1);
    let mut x = seed & mask;
    (0..=mask)
        .map(move |_| {
            x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f) & mask;
            // The low bits of such a generator have short periods: mix them with the high ones, which stays one to one.
            x ^ (x >> (mask.count_ones() / 2 + 1))
        })
        .filter(move |x| *x < n)
}

/// Asks the kernel to forget these files' pages in this mount. What the file system keeps below stays.
pub(crate) fn drop_pages(paths: &[PathBuf]) -> Result<()> {
    for_each(paths, UNTIMED, |path, _| forget(&open(path)?, path))
}

fn forget(file: &File, path: &Path) -> Result<()> {
    fadvise(file, 0, None, Advice::DontNeed).with_context(|| format!("fadvise {}", path.display()))
}

/// Calls `body` for each path, with a buffer of the thread's own, in so many threads.
fn for_each(paths: &[PathBuf], threads: usize, body: impl Fn(&Path, &mut [u8]) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    in_threads(threads, |_| {
        let mut buffer = vec![0; CHUNK];
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            body(path, &mut buffer)?;
        }
        Ok(())
    })
}

/// Runs `body` with the thread's number in so many threads; the first error of any.
pub(crate) fn in_threads(threads: usize, body: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let body = &body;
        let running: Vec<_> = (0..threads.max(1)).map(|n| scope.spawn(move || body(n))).collect();
        running.into_iter().try_for_each(|t| t.join().map_err(|_| anyhow!("a reader panicked"))?)
    })
}

/// One step of Marsaglia's xorshift64; never 0 for a state that is not 0.
pub(crate) fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_comes_once_and_not_in_order() {
        for n in [1, 7, 1000, 65_536] {
            let order: Vec<_> = shuffled(n, 3).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "{n}");
            let steps = order.windows(2).filter(|w| w[1] == w[0] + 1).count() as u64;
            assert!(n < 100 || steps < n / 20, "{n}: {steps} steps of one");
        }
    }
}
