use std::fs::{self, File};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use forebay_e2e::{Agent, AgentFiles, Manifest, MountSpec};

use super::results::Results;
use super::rows::*;
use super::warm::walk;
use super::{Lab, remove, store};
use crate::speed::in_threads;

/// The files as a bucket.
const BUCKET: &str = "catalog";
/// Files in one directory.
const FANOUT: usize = 1_000;

/// A local directory with very many empty files: time to the mount, memory, walks, beside the directory itself.
pub(super) fn measure(lab: &Lab, results: &mut Results) -> Result<()> {
    let work = lab.work.join("catalog");
    let is_bucket = lab.args.server.shows_files();
    let source = if is_bucket {
        lab.client.make_bucket(BUCKET)?;
        lab.client.allow_anonymous_reads(BUCKET)?;
        lab.work.join("data").join(BUCKET)
    } else {
        work.join("source")
    };
    in_threads(2, |thread| {
        for n in (thread * FANOUT..lab.args.catalog).step_by(2 * FANOUT) {
            let dir = source.join(format!("{:05}", n / FANOUT));
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
            for n in n..(n + FANOUT).min(lab.args.catalog) {
                File::create(dir.join(format!("file-{n:08}"))).context("create an empty file")?;
            }
        }
        Ok(())
    })?;

    let files = AgentFiles::with_program(&work.join("forebay"), lab.program.clone())?;
    let mount = MountSpec::plain("/", &format!("file://{}", source.display()));
    let manifest = Manifest::new("large", vec![mount], &files.tier, "1Gi").with("prefetch: {policy: OnDemand}");
    for row in [CATALOG_READY, CATALOG_AGAIN] {
        let start = Instant::now();
        let mut agent = Agent::start(&files, &manifest)?;
        results.add(row, FOREBAY, start.elapsed().as_secs_f64());
        if row == CATALOG_READY {
            results.add(CATALOG_MEMORY, FOREBAY, agent.process.memory()? as f64 / f64::from(1 << 20));
            for (name, root) in [("ext4", source.clone()), (FOREBAY, agent.root())] {
                for (row, stat) in [(CATALOG_FIND, false), (CATALOG_LS, true)] {
                    walk(&root, stat)?;
                    let (entries, time) = walk(&root, stat)?;
                    ensure!(entries >= lab.args.catalog, "{name} shows {entries} of {} entries", lab.args.catalog);
                    results.add(row, name, time.as_secs_f64() * 1e3);
                }
            }
        }
        ensure!(agent.stop()?, "the agent did not end well: {}", agent.process.tail());
    }
    if is_bucket {
        listings(lab, results)?;
        remove(&source)?;
    }
    remove(&work)
}

/// The same from the store: how many names a second a bare client lists, sixteen directories at a time, and how many an agent that has
/// them mounted and sorted.
fn listings(lab: &Lab, results: &mut Results) -> Result<()> {
    let prefixes: Vec<String> = (0..lab.args.catalog.div_ceil(FANOUT)).map(|n| format!("{n:05}%2F")).collect();
    for run in 1..=lab.args.runs {
        let start = Instant::now();
        let keys = store::list(&lab.client, BUCKET, &prefixes)?;
        ensure!(keys == lab.args.catalog, "the store lists {keys} of {} names", lab.args.catalog);
        results.add(CATALOG_LIST, "store", keys as f64 / start.elapsed().as_secs_f64());

        let files = AgentFiles::with_program(&lab.work.join(format!("catalog/s3-{run}")), lab.program.clone())?;
        let mount = MountSpec::s3("/", BUCKET, lab.client.endpoint(), lab.client.keys());
        let manifest = Manifest::new("listed", vec![mount], &files.tier, "1Gi").with("prefetch: {policy: OnDemand}");
        let start = Instant::now();
        let mut agent = Agent::start(&files, &manifest)?;
        results.add(CATALOG_LIST, FOREBAY, lab.args.catalog as f64 / start.elapsed().as_secs_f64());
        ensure!(agent.stop()?, "the agent did not end well: {}", agent.process.tail());
    }
    Ok(())
}
