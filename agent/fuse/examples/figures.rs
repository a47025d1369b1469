//! Measures a mount over the in-memory twin beside tmpfs, in one run: `cargo run --release -p forebay-fuse --example figures`.
//! Each workload is run by a process of its own, so that the server's processor time is told apart from the reader's. Between
//! runs the mount's page cache is dropped. `THREADS`, `ONLY` (a workload), `NATIVE` (every file is complete, backed by its twin on tmpfs) and `KEPT`
//! (ids that are kept) may be set in the environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for people to run and read")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fs::{ROOT_INO, Tree as _};
use forebay_fuse::{MountOptions, mount};

const BIG: usize = 512 << 20;
const SMALL: usize = 100 << 10;
const FILES: usize = 10_000;
const RANDOM_READS: usize = 40_000;
const ROUNDS: usize = 3;

/// Name, threads, unit, and what one run counts.
const WORKLOADS: [(&str, usize, &str); 8] = [
    ("sequential", 1, "MiB/s"),
    ("sequential", 4, "MiB/s"),
    ("random4k", 1, "reads/s"),
    ("random4k", 4, "reads/s"),
    ("small", 1, "files/s"),
    ("small", 4, "files/s"),
    ("list", 1, "names/s"),
    ("list-again", 1, "names/s"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, workload, path, threads] = arguments.as_slice() {
        let (count, seconds) = work(workload, Path::new(path), threads.parse().unwrap());
        println!("{} {}", count / seconds, processor_seconds());
        return;
    }
    measure();
}

fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let native = tempfile::tempdir_in("/dev/shm").unwrap();
    let big: bytes::Bytes = (0..BIG).map(|at| ((at * 31) >> 7) as u8).collect::<Vec<_>>().into();
    fs::write(native.path().join("big"), &big).unwrap();
    fs::create_dir(native.path().join("small")).unwrap();
    let mut contents = Contents::new().file("big", big.clone(), 0);
    for at in 0..FILES {
        let name = format!("small/{at:05}");
        fs::write(native.path().join(&name), &big[..SMALL]).unwrap();
        contents = contents.file(name, big.slice(..SMALL), 0);
    }
    let tree = Arc::new(MemoryTree::new(&contents, Duration::from_secs(1 << 30)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut options = MountOptions::new("figures", dir.path());
    if std::env::var_os("NATIVE").is_some() {
        complete(&tree, native.path());
    }
    if let Ok(kept) = std::env::var("KEPT") {
        options.kept_ids = kept.parse().unwrap();
    }
    if let Ok(threads) = std::env::var("THREADS") {
        options.threads = threads.parse().unwrap();
    }
    let mounted = mount(tree, &options, runtime.handle().clone()).unwrap();
    println!("{} threads serve; medians of {ROUNDS}", options.threads);
    println!("{:<12} jobs {:>12} {:>12} ratio unit      server CPU   reader CPU  (s a run)", "workload", "tmpfs", "mount");
    let only = std::env::var("ONLY").ok();
    for (workload, threads, unit) in WORKLOADS.into_iter().filter(|(name, ..)| only.as_deref().is_none_or(|only| only == *name)) {
        let (mut on_tmpfs, mut on_mount, mut server, mut reader) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            on_tmpfs.push(run(workload, native.path(), threads).0);
            if workload != "list-again" {
                drop_caches(&mounted);
            }
            let before = processor_seconds();
            let (rate, seconds) = run(workload, mounted.at(), threads);
            on_mount.push(rate);
            reader.push(seconds);
            server.push(processor_seconds() - before);
        }
        let (base, rate) = (median(on_tmpfs), median(on_mount));
        println!(
            "{workload:<12} {threads:>4} {base:>12.0} {rate:>12.0} {:>5.2} {unit:<9} {:>10.2} {:>12.2}",
            rate / base,
            median(server),
            median(reader)
        );
    }
    println!("{:?}", mounted.opens());
    mounted.unmount(Duration::from_secs(10)).unwrap();
}

fn complete(tree: &MemoryTree, native: &Path) {
    tree.complete(tree.lookup(ROOT_INO, b"big").unwrap().ino, File::open(native.join("big")).unwrap());
    let small = tree.lookup(ROOT_INO, b"small").unwrap().ino;
    for at in 0..FILES {
        let name = format!("{at:05}");
        let ino = tree.lookup(small, name.as_bytes()).unwrap().ino;
        tree.complete(ino, File::open(native.join("small").join(name)).unwrap());
    }
}

/// Pages, entries and listings of the mount: all that the kernel keeps.
fn drop_caches(mounted: &forebay_fuse::Mounted) {
    let small = mounted.at().join("small");
    for path in fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().path()).chain([mounted.at().join("big")]) {
        mounted.notifier().invalidate_inode(fs::metadata(path).unwrap().ino()).unwrap();
    }
    mounted.notifier().invalidate_inode(fs::metadata(&small).unwrap().ino()).unwrap();
    mounted.notifier().invalidate_all([""; 0]).unwrap();
}

fn run(workload: &str, path: &Path, threads: usize) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([workload, path.to_str().unwrap(), &threads.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}

/// What was done, in the workload's unit, and how long it took in seconds.
fn work(workload: &str, path: &Path, threads: usize) -> (f64, f64) {
    let start = Instant::now();
    let counts: Vec<f64> = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(workload, path, thread, threads))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    (counts.iter().sum(), start.elapsed().as_secs_f64())
}

fn share(workload: &str, path: &Path, thread: usize, threads: usize) -> f64 {
    let mut buf = vec![0; 1 << 20];
    match workload {
        "sequential" => {
            let file = File::open(path.join("big")).unwrap();
            let part = BIG / threads;
            for at in (thread * part..(thread + 1) * part).step_by(buf.len()) {
                file.read_exact_at(&mut buf, at as u64).unwrap();
            }
            (part >> 20) as f64
        }
        "random4k" => {
            let file = File::open(path.join("big")).unwrap();
            let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ (thread as u64) << 32;
            for _ in 0..RANDOM_READS / threads {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let page = (state >> 33) as usize % (BIG / 4096);
                file.read_exact_at(&mut buf[..4096], page as u64 * 4096).unwrap();
            }
            (RANDOM_READS / threads) as f64
        }
        "small" => {
            for at in (thread..FILES).step_by(threads) {
                let file = File::open(path.join(format!("small/{at:05}"))).unwrap();
                file.read_exact_at(&mut buf[..SMALL], 0).unwrap();
            }
            (FILES / threads) as f64
        }
        _ => {
            let names = fs::read_dir(path.join("small")).unwrap();
            names.map(|name| name.unwrap().metadata().unwrap().len().min(1)).sum::<u64>() as f64
        }
    }
}

fn processor_seconds() -> f64 {
    let stat = fs::read_to_string(PathBuf::from("/proc/self/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
