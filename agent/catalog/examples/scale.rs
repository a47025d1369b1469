//! Builds and reads a catalog of as many files as asked for, and prints what that takes.
//!
//! `cargo run --release -p forebay-catalog --example scale -- 10000000 [memory in MiB, default 64]`
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::time::Instant;

use anyhow::{Context, Result};
use forebay_catalog::{Builder, BuilderConfig, Catalog, Listed, MountSpec};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let files: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse()).context("number of files")?;
    let memory: usize = arguments.next().map_or(Ok(64), |n| n.parse()).context("MiB of memory")?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalog");

    let mounts = vec![MountSpec::new("/", "s3://obs.example/imagenet/train")];
    let config = BuilderConfig { dataset: "scale".into(), generation: 1, listed_at_ns: 1, mounts, memory: memory << 20 };
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut builder = Builder::new(dir.path(), config)?;
    for i in 0..files {
        // As a parallel listing brings them: sixteen prefixes in turn, a page of a thousand of each.
        let (page, within) = (i / 1000, i % 1000);
        let key = key(page % 16, page / 16 * 1000 + within);
        let version = format!("e\"{:032x}\"", u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let mtime_ns = 1_700_000_000_000_000_000 + i64::try_from(i)?;
        builder.add(0, Listed { key: &key, size: 100 << 10, mtime_ns, version: &version })?;
    }
    println!("added {files} files: {:.2} s", start.elapsed().as_secs_f64());
    let catalog = builder.finish(&path)?;
    println!(
        "built: {:.2} s, {:.2} CPU s, peak RSS {} MiB with {memory} MiB for sorting",
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        status_kib("VmHWM")? / 1024
    );
    println!("file: {} bytes, {:.1} a file", catalog.file_len(), catalog.file_len() as f64 / files as f64);
    drop(catalog);

    let anonymous = status_kib("RssAnon")?;
    let start = Instant::now();
    let catalog = Catalog::open(&path)?;
    println!(
        "open: {:.0} us, heap grew by {} KiB",
        start.elapsed().as_secs_f64() * 1e6,
        status_kib("RssAnon")?.saturating_sub(anonymous)
    );
    time("verify", catalog.file_len() >> 20, "MiB", || Ok(catalog.verify()?))?;

    let probes = 1_000_000u64.min(files);
    let picks = (1..=probes).map(|n| n.wrapping_mul(6_364_136_223_846_793_005) % u64::from(catalog.len()));
    let picks = picks.map(u32::try_from).collect::<Result<Vec<u32>, _>>()?;
    let paths: Vec<String> = picks.iter().filter_map(|&i| catalog.entry(i)).map(|e| e.path()).collect();
    let inos: Vec<u64> = picks.iter().filter_map(|&i| catalog.entry(i)).map(|e| e.ino()).collect();
    time("by_path", probes, "paths", || {
        paths.iter().try_for_each(|p| catalog.by_path(p).map(drop).context("a path is missing"))
    })?;
    time("lookup", probes, "names", || {
        picks.iter().try_for_each(|&i| {
            let entry = catalog.entry(i).context("an entry is missing")?;
            if i > 0 {
                catalog.lookup(entry.parent(), entry.name().as_bytes()).map(drop).context("a name is missing")
            } else {
                Ok(())
            }
        })
    })?;
    time("by_ino", probes, "numbers", || {
        inos.iter().try_for_each(|&i| catalog.by_ino(i).map(drop).context("a number is missing"))
    })?;
    let entries = u64::from(catalog.len());
    time("readdir of everything", entries, "entries", || {
        let directories = (0..catalog.len()).filter_map(|i| catalog.entry(i)).filter(|e| e.is_dir());
        let count: u64 = directories.map(|d| catalog.children(d.index(), 0).map(|e| u64::from(e.ino() > 1)).sum::<u64>()).sum();
        anyhow::ensure!(count + 1 == entries, "readdir gave {count} of {entries}");
        Ok(())
    })?;
    time("walk with keys and versions", files, "files", || {
        let count = catalog.walk("/").filter(|e| e.key().len() + e.version().len() > 8).count() as u64;
        anyhow::ensure!(count == files, "the walk gave {count} of {files}");
        Ok(())
    })?;
    Ok(())
}

/// The layout of a training set: a thousand files a directory, names of twenty characters.
fn key(shard: u64, n: u64) -> String {
    format!("shard-{shard:02}/n{:08}/img_{:08}_{:04}.jpg", n / 1000, n.wrapping_mul(2_654_435_761) % 100_000_000, n % 1000)
}

fn time(what: &str, count: u64, unit: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    run()?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{what}: {seconds:.3} s, {cpu:.3} CPU s, {:.0} {unit}/CPU s", count as f64 / cpu);
    Ok(())
}

fn status_kib(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix(field)).context("no such field")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
