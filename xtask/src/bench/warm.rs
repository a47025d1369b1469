use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;

use super::results::Results;
use super::rows::*;
use super::{Lab, finish};
use crate::contender::Contender;
use crate::interrupt;
use crate::sh::say;
use crate::speed::{drop_pages, random_reads, read_files};

/// Shortest time that a measurement of throughput lasts: it is repeated until then.
const AT_LEAST: Duration = Duration::from_millis(400);
/// Small files that one measurement reads.
const SMALL: usize = 2_000;

/// Everything that is measured once the data are in each contender's own cache and the mount's pages are dropped.
pub(super) fn measure(lab: &Lab, results: &mut Results) -> Result<()> {
    let mut started = vec![(Contender::native("ext4", lab.data.root.clone()), None)];
    let memory = tempfile::Builder::new().prefix("forebay-bench-").tempdir_in("/dev/shm").context("a directory on tmpfs")?;
    interrupt::also_remove(memory.path().to_path_buf());
    if lab.args.has("tmpfs") {
        copy(&lab.data.root, memory.path())?;
        started.push((Contender::native("tmpfs", memory.path().to_path_buf()), None));
    }
    for name in lab.args.taking_part(WARM, 1) {
        let (contender, dir) = lab.start(name, "warm", &["prefetch: {policy: OnDemand}"])?;
        say(&format!("filling {name}"));
        fill(lab, &contender, results).with_context(|| format!("fill {name}"))?;
        started.push((contender, Some(dir)));
    }
    for run in 1..=lab.args.runs {
        say(&format!("warm, run {run} of {}", lab.args.runs));
        let (forth, back) = (started.iter(), started.iter().rev());
        let order: Vec<_> = if run.is_multiple_of(2) { back.collect() } else { forth.collect() };
        for (contender, _) in order {
            one(lab, contender, run as u64, results).with_context(|| format!("warm {}", contender.name))?;
        }
    }
    started.into_iter().try_for_each(|(contender, dir)| dir.map_or(Ok(()), |dir| finish(contender, &dir)))
}

/// Brings everything in, by reading it once through the mount, and notes the memory before and after.
fn fill(lab: &Lab, contender: &Contender, results: &mut Results) -> Result<()> {
    let memory = |row, results: &mut Results| -> Result<()> {
        let process = contender.process().context("a mount without a process")?;
        results.add(row, contender.name, process.memory()? as f64 / f64::from(1 << 20));
        Ok(())
    };
    memory(MEMORY_REST, results)?;
    if contender.name == PINNED {
        wait_pinned(contender)?;
    }
    read_files(&lab.at(contender, &lab.data.big), 2)?;
    read_files(&lab.at(contender, &lab.data.small), 4)?;
    memory(MEMORY_FULL, results)
}

fn wait_pinned(contender: &Contender) -> Result<()> {
    let agent = contender.agent().context("not an agent")?;
    wait_until("everything to be pinned", Duration::from_secs(600), || {
        std::thread::sleep(Duration::from_millis(200));
        let status = agent.status()?;
        let conditions = status["conditions"].as_array().context("no conditions")?;
        let composed = conditions.iter().any(|one| one["type"] == "Composed" && one["status"] == "True");
        Ok((status["cache"]["percent"].as_f64() == Some(100.0) && status["phase"] == "Ready" && composed).then_some(()))
    })
}

fn one(lab: &Lab, contender: &Contender, run: u64, results: &mut Results) -> Result<()> {
    let big = lab.at(contender, &lab.data.big);
    let small = lab.at(contender, &lab.data.some_small(SMALL));
    let cpu = || contender.process().map_or(Ok(0.0), |p| p.cpu_seconds());

    let before = cpu()?;
    let mut gib = 0.0;
    for (row, threads) in [(SEQ_1, 1), (SEQ_4, 4)] {
        let (bytes, time) = repeat(contender, &big, threads)?;
        let mib = bytes as f64 / f64::from(1 << 20);
        results.add(row, contender.name, mib / time.as_secs_f64());
        gib += mib / 1024.0;
    }
    if contender.process().is_some() {
        results.add(CPU, contender.name, (cpu()? - before) / gib);
    }

    drop_own_pages(contender, &big[..1])?;
    let time = Duration::from_millis(if lab.args.short { 500 } else { 2_000 });
    let mut taken = random_reads(&big[0], time, run)?;
    let total: Duration = taken.iter().sum();
    taken.sort();
    let micros = |quantile: f64| taken[((taken.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1e6;
    ensure!(!taken.is_empty(), "no random read in {time:?}");
    results.add(RANDOM, contender.name, taken.len() as f64 / total.as_secs_f64());
    results.add(RANDOM_P50, contender.name, micros(0.5));
    results.add(RANDOM_P99, contender.name, micros(0.99));

    for (row, threads) in [(SMALL_1, 1), (SMALL_4, 4)] {
        let (bytes, time) = repeat(contender, &small, threads)?;
        let files = bytes as f64 / (lab.args.small_kib << 10) as f64;
        results.add(row, contender.name, files / time.as_secs_f64());
    }
    for (row, stat) in [(FIND, false), (LS, true)] {
        walk(&contender.root, stat)?;
        let (entries, time) = walk(&contender.root, stat)?;
        ensure!(entries > lab.data.small.len(), "{} shows {entries} entries", contender.name);
        results.add(row, contender.name, time.as_secs_f64() * 1e3);
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

/// Drops the mount's own pages. The kernel's own file systems keep theirs: they stand for the data that every cache has below. A composed
/// mount has none: those of its pinned files are those of the cache's.
fn drop_own_pages(contender: &Contender, paths: &[PathBuf]) -> Result<()> {
    let has_own = contender.process().is_some() && contender.name != PINNED;
    if has_own { drop_pages(paths) } else { Ok(()) }
}

/// Walks a tree as `find` does or, with `stat`, as `ls -lR` does. Gives entries and time.
pub(super) fn walk(root: &Path, stat: bool) -> Result<(usize, Duration)> {
    let start = Instant::now();
    let (mut entries, mut todo) = (0, vec![root.to_path_buf()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let entry = entry?;
            entries += 1;
            let is_dir = if stat { entry.metadata()?.is_dir() } else { entry.file_type()?.is_dir() };
            if is_dir {
                todo.push(entry.path());
            }
        }
    }
    Ok((entries, start.elapsed()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy to {}", target.display()))?;
        }
    }
    Ok(())
}
