use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forebay_e2e::{Agent, wait_until};

use super::results::Results;
use super::rows::*;
use super::{Lab, memory, pass, remove};
use crate::contender::Contender;
use crate::interrupt;
use crate::sh::say;
use crate::speed::read_files;

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
        if name == RAM
            && let Some(why) = lacks_memory(lab)?
        {
            say(&format!("{name} is left out {why}"));
            results.leave_out(name, &why);
            continue;
        }
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
            pass::measure(lab, contender, run as u64, results).with_context(|| format!("warm {}", contender.name))?;
        }
    }
    started.into_iter().try_for_each(|(contender, dir)| {
        drop(contender);
        dir.map_or(Ok(()), |dir| remove(&dir))
    })
}

/// Why there is no room in memory for the data once more, and as much again for what the kernel keeps of the caches on the disk.
fn lacks_memory(lab: &Lab) -> Result<Option<String>> {
    let (available, wanted) = (memory::available_mib()?, 2 * lab.data_mib());
    let why = || format!("for want of memory: {available} MiB are available, and twice the data's size is {wanted} MiB");
    Ok((available < wanted).then(why))
}

/// Brings everything in, by reading it once through the mount, and notes the memory before, after, and at its peak.
fn fill(lab: &Lab, contender: &Contender, results: &mut Results) -> Result<()> {
    let process = contender.process().context("a mount without a process")?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    results.add(MEMORY_REST, contender.name, mib(process.memory()?));
    if contender.name == PINNED {
        wait_pinned(contender)?;
    }
    read_files(&lab.at(contender, &lab.data.big), 2)?;
    read_files(&lab.at(contender, &lab.data.small), 4)?;
    if contender.name == COMPOSED {
        wait_native(lab, contender)?;
    }
    results.add(MEMORY_FULL, contender.name, mib(process.memory()?));
    results.add(MEMORY_PEAK, contender.name, mib(process.peak_memory()?));
    Ok(())
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

/// Waits until all small files are published, and the kernel reads them by itself. It is told some seconds after the last one; what is
/// open just then it finds no sooner than the next time, so the files are left alone between two looks.
fn wait_native(lab: &Lab, contender: &Contender) -> Result<()> {
    let agent = contender.agent().context("not an agent")?;
    let small = lab.at(contender, &lab.data.small);
    wait_until("all small files to be published", Duration::from_secs(600), || {
        std::thread::sleep(Duration::from_millis(500));
        Ok((sum(&metrics(agent)?, "forebay_cache_native_files{")? >= small.len() as f64).then_some(()))
    })?;
    wait_until("the kernel to read small files by itself", Duration::from_secs(600), || {
        std::thread::sleep(Duration::from_secs(15));
        let before = sum(&metrics(agent)?, "forebay_dataset_opens_total{")?;
        read_files(&small, 4)?;
        let asked = sum(&metrics(agent)?, "forebay_dataset_opens_total{")? - before;
        Ok((asked <= small.len() as f64 / 100.0).then_some(()))
    })
}

/// The agent's page of metrics.
fn metrics(agent: &Agent) -> Result<String> {
    let address = agent.metrics_address()?;
    let mut stream = TcpStream::connect(&address).with_context(|| format!("connect to {address}"))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// The sum of the samples whose lines begin with `start`; there is one at least.
fn sum(page: &str, start: &str) -> Result<f64> {
    let lines = page.lines().filter(|line| line.starts_with(start));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value).with_context(|| format!("no {start} among the metrics"))
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
