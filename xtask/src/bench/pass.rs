//! One pass over one contender whose cache is full.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Lab;
use super::results::Results;
use super::rows::*;
use super::warm::walk;
use crate::contender::Contender;
use crate::speed::{drop_pages, random_reads, read_below, read_files};

/// Shortest time that a measurement of throughput lasts: it is repeated until then.
const AT_LEAST: Duration = Duration::from_millis(400);
/// Small files that one measurement reads.
const SMALL: usize = 2_000;
/// Small files of a short run's epoch: the slowest peer takes a second for so many. In any other run an epoch is all of them.
const SHORT_EPOCH: usize = 500;

/// Everything, once.
pub(super) fn measure(lab: &Lab, contender: &Contender, run: u64, results: &mut Results) -> Result<()> {
    let big = lab.at(contender, &lab.data.big);
    bring_in(lab, contender, &big)?;
    sequential(contender, &big, results)?;
    random(lab, contender, &big, run, results)?;
    small(lab, contender, run, results)?;
    for (row, stat) in [(FIND, false), (LS, true)] {
        walk(&contender.root, stat)?;
        let (entries, time) = walk(&contender.root, stat)?;
        ensure!(entries > lab.data.small.len(), "{} shows {entries} entries", contender.name);
        results.add(row, contender.name, time.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn sequential(contender: &Contender, big: &[PathBuf], results: &mut Results) -> Result<()> {
    let cpu = || contender.process().map_or(Ok(0.0), |p| p.cpu_seconds());
    let before = cpu()?;
    let mut gib = 0.0;
    for (row, threads) in [(SEQ_1, 1), (SEQ_4, 4)] {
        let (bytes, time) = repeat(contender, big, threads)?;
        let mib = bytes as f64 / f64::from(1 << 20);
        results.add(row, contender.name, mib / time.as_secs_f64());
        gib += mib / 1024.0;
    }
    if contender.process().is_some() {
        results.add(CPU, contender.name, (cpu()? - before) / gib);
    }
    Ok(())
}

fn random(lab: &Lab, contender: &Contender, big: &[PathBuf], run: u64, results: &mut Results) -> Result<()> {
    let limit = Duration::from_millis(if lab.args.short { 500 } else { 2_000 });
    drop_own_pages(contender, &big[..1])?;
    let mut taken = random_reads(&big[0], 4 << 10, limit, run)?;
    results.add(RANDOM, contender.name, rate(&taken)?);
    taken.sort();
    let micros = |quantile: f64| taken[((taken.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1e6;
    results.add(RANDOM_P50, contender.name, micros(0.5));
    results.add(RANDOM_P99, contender.name, micros(0.99));

    // In all files: one has so few places of this size that they are read in some hundredths of a second.
    drop_own_pages(contender, big)?;
    let mut taken = Vec::new();
    for path in big {
        taken.extend(random_reads(path, 128 << 10, limit / 4, run)?);
    }
    results.add(RANDOM_128, contender.name, rate(&taken)?);
    Ok(())
}

fn rate(taken: &[Duration]) -> Result<f64> {
    ensure!(!taken.is_empty(), "no random read in the time for it");
    Ok(taken.len() as f64 / taken.iter().sum::<Duration>().as_secs_f64())
}

fn small(lab: &Lab, contender: &Contender, run: u64, results: &mut Results) -> Result<()> {
    // All of them, which a part would not stand for: there may be more than a contender keeps ready to be opened again.
    let files = if lab.args.short { SHORT_EPOCH } else { lab.data.small.len() };
    let epoch = lab.at(contender, &lab.data.shuffled_small(files, run));
    bring_in(lab, contender, &epoch)?;
    let (_, time) = read_files(&epoch, 4)?;
    results.add(EPOCH, contender.name, epoch.len() as f64 / time.as_secs_f64());

    let some = lab.at(contender, &lab.data.some_small(SMALL));
    for (row, threads) in [(SMALL_1, 1), (SMALL_4, 4)] {
        let (bytes, time) = repeat(contender, &some, threads)?;
        let files = bytes as f64 / (lab.args.small_kib << 10) as f64;
        results.add(row, contender.name, files / time.as_secs_f64());
    }
    Ok(())
}

fn repeat(contender: &Contender, paths: &[PathBuf], threads: usize) -> Result<(u64, Duration)> {
    let (mut bytes, mut time) = (0, Duration::ZERO);
    while time < AT_LEAST {
        drop_own_pages(contender, paths)?;
        let (more, took) = read_files(paths, threads)?;
        bytes += more;
        time += took;
    }
    Ok((bytes, time))
}

/// Reads files once, untimed, through the contender's own mount, and drops the mount's pages. All caches together may be larger than the
/// memory, and then that of whoever was read longest ago would come from the disk; what is compared is each one's way to data that the
/// kernel has. A short run's caches have room together.
fn bring_in(lab: &Lab, contender: &Contender, paths: &[PathBuf]) -> Result<()> {
    match (lab.args.short, has_own_pages(contender)) {
        (true, _) => drop_own_pages(contender, paths),
        (false, true) => read_below(paths),
        (false, false) => read_files(paths, 4).map(drop),
    }
}

/// The kernel's own file systems keep theirs: they stand for the data that every cache has below. A composed mount has none: those of
/// its files are those of the cache's.
fn has_own_pages(contender: &Contender) -> bool {
    contender.process().is_some() && !matches!(contender.name, COMPOSED | PINNED)
}

/// Drops the mount's own pages, if it has any.
fn drop_own_pages(contender: &Contender, paths: &[PathBuf]) -> Result<()> {
    if has_own_pages(contender) { drop_pages(paths) } else { Ok(()) }
}
