//! Writes the image of a catalog of as many files as asked for, and prints what that takes. With `mount`, as root, also mounts it and walks
//! over it.
//!
//! `cargo run --release -p forebay-compose --example compose_scale -- 1000000 [mount]`
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::time::Instant;

use anyhow::{Context, Result};
use forebay_catalog::{Builder, BuilderConfig, Entry, Listed, MountSpec};
use forebay_compose::{Image, Layers, Look, mount};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let files: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse()).context("number of files")?;
    let mounts = arguments.next().is_some();
    let dir = tempfile::tempdir()?;

    let config = BuilderConfig {
        dataset: "scale".into(),
        generation: 1,
        listed_at_ns: 1,
        mounts: vec![MountSpec::new("/", "s3://obs.example/imagenet/train")],
        memory: 32 << 20,
    };
    let mut builder = Builder::new(dir.path(), config)?;
    for i in 0..files {
        // The layout of a training set: a thousand files a directory, names of twenty characters.
        let key = format!("train/n{:08}/img_{:08}_{:04}.jpg", i / 1000, i.wrapping_mul(2_654_435_761) % 100_000_000, i % 1000);
        let version = format!("e\"{:032x}\"", u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let mtime_ns = 1_700_000_000_000_000_000 + i64::try_from(i)?;
        builder.add(0, Listed { key: &key, size: 100 << 10, mtime_ns, version: &version })?;
    }
    let catalog = builder.finish(&dir.path().join("catalog"))?;

    let path = dir.path().join("image");
    let object = |entry: &Entry<'_>| {
        let mut hash = blake3::Hasher::new();
        hash.update(entry.key().as_bytes()).update(entry.version().as_bytes()).update(&entry.size().to_le_bytes());
        Some(*hash.finalize().as_bytes())
    };
    let look = Look { uid: 0, gid: 0, file_mode: 0o444, dir_mode: 0o555 };
    // Reading the catalog's pages in is not the writer's work.
    catalog.verify()?;
    let heap = status_kib("RssAnon")?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let written = Image::new(&catalog, look, object).write(&path)?;
    println!(
        "image of {} inodes: {:.2} s, {:.2} CPU s, {} bytes, {:.1} a file; heap grew by {} KiB",
        written.inodes,
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        written.bytes,
        written.bytes as f64 / files as f64,
        status_kib("RssAnon")?.saturating_sub(heap),
    );
    if mounts {
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let start = Instant::now();
        let composed = mount(&Layers { image: path, data: vec![data], source: "scale".into() })?;
        println!("mounted: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        for _ in 0..2 {
            let start = Instant::now();
            let (mut names, mut bytes) = (0u64, 0u64);
            let mut left = vec![composed.path()];
            while let Some(directory) = left.pop() {
                for entry in std::fs::read_dir(directory)? {
                    let entry = entry?;
                    names += 1;
                    if entry.file_type()?.is_dir() {
                        left.push(entry.path());
                    } else {
                        bytes += entry.metadata()?.len();
                    }
                }
            }
            println!("walked and stat {names} entries of {bytes} bytes: {:.2} s", start.elapsed().as_secs_f64());
        }
        let start = Instant::now();
        composed.forget()?;
        println!("forgot: {:.2} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn status_kib(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
