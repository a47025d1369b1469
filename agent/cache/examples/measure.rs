//! Measures a cache: `measure rates DIR` for insert and read rates beside plain files, `measure million DIR [COUNT]` for a start
//! with as many small files as COUNT says (1,000,000), `measure memory DIR [COUNT]` for what the table of so many takes.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for developers that prints what it measured and dies of what it cannot do"
)]

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use forebay_cache::index::{Batch, Index, IndexError};
use forebay_cache::io::{DiskIo, TierIo};
use forebay_cache::{
    BLOCK, Cache, CacheConfig, DatasetId, DatasetPolicy, Landing, Medium, Object, ObjectId, Parts, Read, TierConfig, TierState,
};

fn config(dir: &Path, capacity: u64) -> CacheConfig {
    let tier = TierConfig { name: "ssd".into(), medium: Medium::Disk, dir: dir.join("tier"), capacity, reserve: 1 << 30 };
    CacheConfig::new(vec![tier], dir.join("index"))
}

/// Resident memory of this process, in MiB: now and at its highest.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (field("VmRSS"), field("VmHWM"))
}

fn dataset(cache: &Cache) -> DatasetId {
    cache.set_dataset("measured", DatasetPolicy::default())
}

fn object(cache: &Cache, ds: DatasetId, number: u64, size: u64) -> Object {
    cache.object(ds, ObjectId::derive("measure://", &number.to_string(), b"1", size), size)
}

fn rate(what: &str, count: u64, bytes: u64, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:<58} {:>9.0}/s {:>8.0} MiB/s", count as f64 / seconds, (count * bytes) as f64 / seconds / BLOCK as f64);
}

fn data(size: u64) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 11) as u8).collect()
}

fn rates(dir: &Path) {
    let cache = Cache::open(config(dir, 8 << 30)).unwrap();
    let ds = dataset(&cache);
    let small = data(100 << 10);
    let block = data(BLOCK);
    let count = 10_000;
    for round in 0..3u64 {
        println!("-- round {round}");
        let plain = dir.join(format!("plain{round}"));
        std::fs::create_dir_all(&plain).unwrap();
        let first = round * 1_000_000;
        rate("100 KiB files, plain create+write", count, small.len() as u64, || {
            for n in 0..count {
                std::fs::write(plain.join(n.to_string()), &small).unwrap();
            }
        });
        rate("100 KiB objects, insert", count, small.len() as u64, || {
            for n in first..first + count {
                object(&cache, ds, n, small.len() as u64).insert(0, &small, Landing::default());
            }
        });
        let mut buf = vec![0; BLOCK as usize];
        rate("100 KiB files, plain open+read+close", count, small.len() as u64, || {
            for n in 0..count {
                std::fs::File::open(plain.join(n.to_string())).unwrap().read_exact_at(&mut buf[..small.len()], 0).unwrap();
            }
        });
        rate("100 KiB objects, read", count, small.len() as u64, || {
            for n in first..first + count {
                assert_eq!(object(&cache, ds, n, small.len() as u64).read_at(0, &mut buf[..small.len()]), Read::Hit(small.len()));
            }
        });
        std::fs::remove_dir_all(&plain).unwrap();
        let blocks = 1024;
        let large = object(&cache, ds, first + 999_999, blocks * BLOCK);
        let file =
            std::fs::File::options().create(true).truncate(true).read(true).write(true).open(dir.join("plain.bin")).unwrap();
        rate("1 MiB writes, plain file", blocks, BLOCK, || {
            for n in 0..blocks {
                file.write_all_at(&block, n * BLOCK).unwrap();
            }
        });
        rate("1 MiB blocks, insert (meta data in a sidecar)", blocks, BLOCK, || {
            for n in 0..blocks as u32 {
                large.insert(n, &block, Landing::default());
            }
        });
        rate("1 MiB reads, plain file", blocks, BLOCK, || {
            for n in 0..blocks {
                file.read_exact_at(&mut buf, n * BLOCK).unwrap();
            }
        });
        rate("1 MiB blocks, read", blocks, BLOCK, || {
            for n in 0..blocks {
                assert_eq!(large.read_at(n * BLOCK, &mut buf), Read::Hit(buf.len()));
            }
        });
        let reads = 400_000u64;
        let at = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (blocks * 256) * 4096;
        rate("4 KiB random reads, plain file", reads, 4096, || {
            for n in 0..reads {
                file.read_exact_at(&mut buf[..4096], at(n)).unwrap();
            }
        });
        rate("4 KiB random reads, cache", reads, 4096, || {
            for n in 0..reads {
                assert_eq!(large.read_at(at(n), &mut buf[..4096]), Read::Hit(4096));
            }
        });
        let medium = object(&cache, ds, first + 999_998, 200 * BLOCK);
        rate("1 MiB blocks, insert (meta data in an attribute)", 200, BLOCK, || {
            for n in 0..200u32 {
                medium.insert(n, &block, Landing::default());
            }
        });
        large.evict();
        medium.evict();
    }
    println!("{:?}", cache.stats());
    println!("memory {:?} MiB", memory());
    cache.close();
}

fn million(dir: &Path, count: u64) {
    let capacity = count * 16_384 + (1 << 30);
    println!("at rest: memory {:?} MiB", memory());
    {
        let cache = Cache::open(config(dir, capacity)).unwrap();
        let ds = dataset(&cache);
        let ready = || cache.health()[0].state == TierState::Ready;
        while !ready() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let before = memory().0;
        let small = data(1000);
        rate("1000-byte objects, insert", count, 1000, || {
            for n in 0..count {
                object(&cache, ds, n, 1000).insert(0, &small, Landing::default());
            }
        });
        let usage = cache.usage().tiers[0].clone();
        let begun = Instant::now();
        cache.flush();
        println!("flush of the index {:?}", begun.elapsed());
        let after = memory();
        println!(
            "{} objects, memory {after:?} MiB, {} bytes an object",
            usage.objects,
            (after.0 - before) * BLOCK / usage.objects.max(1)
        );
        let begun = Instant::now();
        cache.close();
        println!("close {:?}", begun.elapsed());
    }
    start(dir, capacity, "clean start", false);
    start(dir, capacity, "start and scan", true);
    std::fs::remove_dir_all(dir.join("index")).unwrap();
    start(dir, capacity, "start without an index, and scan", true);
}

/// An index that keeps nothing: what is left is the cache's own memory.
struct Nothing;

impl Index for Nothing {
    fn load(&self, _: &str, _: &mut dyn FnMut(ObjectId, &[u8]) -> bool) -> Result<(), IndexError> {
        Ok(())
    }
    fn apply(&self, _: &str, _: Batch) -> Result<(), IndexError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }
    fn close(&self) {}
    fn token(&self, _: &str) -> Result<Option<u64>, IndexError> {
        Ok(None)
    }
    fn set_token(&self, _: &str, _: Option<u64>) -> Result<(), IndexError> {
        Ok(())
    }
}

fn own_memory(dir: &Path, count: u64) {
    let config = config(dir, count * 16_384 + (1 << 30));
    let io: Arc<dyn TierIo> = Arc::new(DiskIo::new(&config.tiers[0].dir));
    let cache = Cache::open_with(&config, Parts { ios: vec![io], index: Arc::new(Nothing), threads: true }).unwrap();
    let ds = dataset(&cache);
    let before = memory().0;
    for n in 0..count {
        object(&cache, ds, n, 1).insert(0, &[7], Landing::default());
    }
    let after = memory().0;
    println!("{count} objects without an index: {before} -> {after} MiB, {} bytes an object", (after - before) * BLOCK / count);
}

fn start(dir: &Path, capacity: u64, what: &str, scan: bool) {
    let before = memory().0;
    let begun = Instant::now();
    let cache = Cache::open(config(dir, capacity)).unwrap();
    let opened = begun.elapsed();
    let ds = dataset(&cache);
    let hit = matches!(object(&cache, ds, 77, 1000).read_at(0, &mut [0; 1000]), Read::Hit(1000));
    let first = begun.elapsed();
    if scan {
        println!("{what}: {:?}", cache.recover(&AtomicBool::new(false)).unwrap());
    }
    while cache.health()[0].state != TierState::Ready {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ready = begun.elapsed();
    let now = memory();
    println!(
        "{what}: open {opened:?}, first read (hit: {hit}) {first:?}, all known {ready:?}, {} objects, memory {before} -> {now:?} MiB",
        cache.usage().tiers[0].objects
    );
    cache.close();
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = Path::new(args.get(2).expect("measure rates|million|memory DIR [COUNT]"));
    std::fs::create_dir_all(dir).unwrap();
    match args[1].as_str() {
        "rates" => rates(dir),
        "memory" => own_memory(dir, args.get(3).map_or(1_000_000, |n| n.parse().unwrap())),
        "million" => million(dir, args.get(3).map_or(1_000_000, |n| n.parse().unwrap())),
        other => println!("{other}: rates, million or memory"),
    }
}
