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

/// Reads files with `threads` threads, each whole and in order. Gives bytes and time.
pub(crate) fn read_files(paths: &[PathBuf], threads: usize) -> Result<(u64, Duration)> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let start = Instant::now();
    in_threads(threads, |_| {
        let mut buffer = vec![0; CHUNK];
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            bytes.fetch_add(read_file(path, &mut buffer)?, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok((bytes.into_inner(), start.elapsed()))
}

/// Reads one file whole and gives its size.
pub(crate) fn read_file(path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
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
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    file.read_exact_at(&mut [0; 4096], 0).with_context(|| format!("read {}", path.display()))?;
    Ok(start.elapsed())
}

/// Reads 4 KiB at random places until `limit` has passed or every page was read once; gives the latency of each read.
///
/// No page is read twice: the second time it would come from the kernel's page cache, whoever serves the file.
pub(crate) fn random_reads(path: &Path, limit: Duration, seed: u64) -> Result<Vec<Duration>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let pages = file.metadata()?.len() / 4096;
    let (mut buffer, mut taken) = ([0; 4096], Vec::new());
    let end = Instant::now() + limit;
    for page in shuffled(pages, seed) {
        let start = Instant::now();
        if start >= end {
            break;
        }
        file.read_exact_at(&mut buffer, page * 4096).with_context(|| format!("read {}", path.display()))?;
        taken.push(start.elapsed());
    }
    Ok(taken)
}

/// Each number below `n` once, in an order that looks random: a full-period generator modulo the next power of two
/// (Hull and Dobell: odd increment, multiplier 1 modulo 4), without the numbers that are too large.
fn shuffled(n: u64, seed: u64) -> impl Iterator<Item = u64> {
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
    for path in paths {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        fadvise(&file, 0, None, Advice::DontNeed).with_context(|| format!("fadvise {}", path.display()))?;
    }
    Ok(())
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
    fn every_page_comes_once_and_not_in_order() {
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
