use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forebay_e2e::{Fault, FaultProxy, Rule, S3Client, wait_until};

use super::results::Results;
use super::rows::*;
use super::{Lab, memory, store};
use crate::speed::{first_byte, read_files};

/// Small files that one measurement reads.
const SMALL: usize = 1_000;
/// By so much later a store that is far begins to answer: as object stores in a region of one's own do.
const FAR: Duration = Duration::from_millis(20);

/// One contender, mounted anew with an empty cache: first byte of one large file, another one whole, then small files.
pub(super) fn measure(lab: &Lab, name: &'static str, run: usize, results: &mut Results) -> Result<()> {
    let (contender, _) = lab.start(name, &format!("cold-{run}"), &["prefetch: {policy: OnDemand}"])?;
    let big = lab.at(&contender, &lab.data.big);
    results.add(FIRST_BYTE, name, first_byte(&big[0])?.as_secs_f64() * 1e3);
    memory::touch(lab.args.big_mib)?;
    // What a contender puts off until the reader has its last byte counts for what is read next, or for nothing.
    let cpu = || -> Result<f64> { contender.process().context("a mount without a process")?.cpu_seconds() };
    let before = cpu()?;
    let (bytes, time) = read_files(&big[1..2], 1)?;
    let mib = bytes as f64 / f64::from(1 << 20);
    results.add(COLD_CPU, name, (cpu()? - before) / (mib / 1024.0));
    results.add(COLD_SEQ, name, mib / time.as_secs_f64());
    let small = lab.at(&contender, &lab.data.some_small(SMALL));
    memory::touch((small.len() as u64 * lab.args.small_kib) >> 10)?;
    let before = cpu()?;
    let (_, time) = read_files(&small, 4)?;
    results.add(COLD_SMALL_CPU, name, (cpu()? - before) * 1e3 / small.len() as f64);
    results.add(COLD_SMALL, name, small.len() as f64 / time.as_secs_f64());
    Ok(())
}

/// Small files of whole directories, read in order by four threads, before a store that answers each GET later.
pub(super) fn far(lab: &Lab, run: usize, results: &mut Results) -> Result<()> {
    let proxy = FaultProxy::start(lab.client.endpoint().trim_start_matches("http://"))?;
    proxy.add(Rule::gets(Fault::Delay(FAR)));
    let files = &lab.data.small[..if lab.args.short { 200 } else { 500 }.min(lab.data.small.len())];
    let (id, key) = lab.client.keys();
    let client = S3Client::new(&proxy.endpoint(), id, key);
    results.add(FAR_SMALL, "store", store::small(lab, &client, files)?);
    for name in lab.args.taking_part(MOUNTS, run) {
        let (contender, _) = lab.start_before(&client, name, &format!("far-{run}"), &["prefetch: {policy: OnDemand}"])?;
        let small = lab.at(&contender, files);
        let (_, time) = read_files(&small, 4)?;
        results.add(FAR_SMALL, name, small.len() as f64 / time.as_secs_f64());
    }
    Ok(())
}

/// Time from the start of the program until everything is cached.
pub(super) fn prefetch(lab: &Lab, name: &'static str, run: usize, results: &mut Results) -> Result<()> {
    memory::touch(lab.data_mib())?;
    let start = Instant::now();
    let (contender, _) = lab.start(name, &format!("prefetch-{run}"), &["prefetch: {policy: Eager, paths: [/]}"])?;
    let agent = contender.agent().context("not an agent")?;
    wait_until("the prefetch to end", Duration::from_secs(600), || {
        // Each look is a process, whose time is taken from the prefetch.
        std::thread::sleep(Duration::from_millis(80));
        Ok((agent.status()?["cache"]["percent"].as_f64() == Some(100.0)).then_some(()))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let files = lab.data.small.len() + lab.data.big.len();
    results.add(PREFETCH_FILES, name, files as f64 / seconds);
    results.add(PREFETCH_BYTES, name, lab.data_mib() as f64 / seconds);
    Ok(())
}
