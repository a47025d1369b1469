//! One run measures every contender, interleaved, and prints medians and ratios.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forebay_e2e::S3Client;

use crate::contender::peers::{self, JUICEFS, Seat};
use crate::contender::{Contender, Ours, juicefs};
use crate::sh::{self, say};
use crate::{install, interrupt, workspace};

mod args;
mod catalog;
mod chart;
mod cold;
mod data;
mod memory;
mod pass;
mod results;
mod rows;
mod store;
mod verdict;
mod warm;

pub(crate) use args::BenchArgs;

use data::Data;
use results::Results;
use rows::{AGAINST, BUILDS, COMPOSED, FOREBAY, FUSE, MOUNTS, PINNED, RAM, WARM};

/// Everything that the measurements need.
struct Lab {
    args: BenchArgs,
    program: PathBuf,
    client: S3Client,
    data: Data,
    work: PathBuf,
}

const BUCKET: &str = "bench";
/// By these words the directories of contenders that are started cold are told from others.
const COLD: [&str; 3] = ["cold", "far", "prefetch"];

/// `cargo xtask bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    interrupt::take_over()?;
    let args = args.clone().sized().looking_on(sh::path());
    install::debian(&["fusermount3", "rclone", "s3fs", "curl"])?;
    let program = if args.has(FOREBAY) { workspace::agent(args.agent.as_deref())? } else { PathBuf::new() };

    let base = args.work.clone().unwrap_or_else(std::env::temp_dir);
    let work = tempfile::Builder::new().prefix("forebay-bench-").tempdir_in(base).context("make a temporary directory")?;
    interrupt::also_remove(work.path().to_path_buf());
    say("making the data");
    let data = Data::make(&work.path().join("ext4"), &args)?;
    let server = args.server.start(work.path())?;
    let client = server.client();
    client.make_bucket(BUCKET)?;
    client.upload(&data.root, BUCKET)?;
    client.allow_anonymous_reads(BUCKET)?;

    let lab = Lab { args, program, client, data, work: work.path().to_path_buf() };
    if lab.args.has(JUICEFS) {
        say(&format!("bringing the data into {JUICEFS}"));
        juicefs::import(&lab.seat(&lab.client, &lab.work), &lab.data.root).with_context(|| starting(JUICEFS))?;
    }
    let mut results = Results::default();
    lab.measure(&mut results)?;
    // A machine that was busy with something else for a minute is no reason to fail: only what is slow twice is slow.
    if lab.args.short
        && let Err(error) = verdict::judge(&results, lab.args.cold).outcome()
    {
        say(&format!("{error}: measuring once more"));
        results = Results::default();
        lab.measure(&mut results)?;
    }
    let table = results.table();
    say(&table);
    let out = workspace::root()?.join(&lab.args.out);
    fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
    fs::write(out.join("results.json"), serde_json::to_string_pretty(&results.to_json(&lab.describe()))?)?;
    fs::write(out.join("table.txt"), &table)?;
    fs::write(out.join("chart.svg"), chart::svg(&results))?;
    say(&format!("wrote results.json, table.txt and chart.svg to {}", out.display()));
    drop(server);
    if !lab.args.short {
        return Ok(());
    }
    let verdict = verdict::judge(&results, lab.args.cold);
    verdict.unmeasured.iter().for_each(|line| say(&format!("not measured: {line}")));
    verdict.outcome()
}

impl Lab {
    fn measure(&self, results: &mut Results) -> Result<()> {
        // Another build is missed by nobody who did not name one.
        for name in WARM.iter().chain(&["tmpfs"]).filter(|name| **name != AGAINST) {
            if let Some(why) = self.args.left_out(name) {
                results.leave_out(name, why);
            }
        }
        for run in 1..=self.args.runs {
            say(&format!("cold, run {run} of {}", self.args.runs));
            store::measure(self, results)?;
            for name in self.args.taking_part(MOUNTS, run) {
                cold::measure(self, name, run, results).with_context(|| format!("cold {name}"))?;
            }
            cold::far(self, run, results).context("before a store that is far")?;
            for name in self.args.taking_part(BUILDS, run) {
                cold::prefetch(self, name, run, results).with_context(|| format!("prefetch of {name}"))?;
            }
        }
        self.remove_cold()?;
        if self.args.cold {
            return Ok(());
        }
        warm::measure(self, results)?;
        if self.args.catalog > 0 && self.args.has(FOREBAY) {
            say(&format!("a catalog of {} entries", self.args.catalog));
            catalog::measure(self, results)?;
        }
        Ok(())
    }

    /// Starts one of [`MOUNTS`] or [`WARM`] with an empty cache in a directory of its own.
    fn start(&self, name: &'static str, tag: &str, spec: &[&str]) -> Result<(Contender, PathBuf)> {
        self.start_before(&self.client, name, tag, spec)
    }

    /// The same before the server as another client sees it.
    fn start_before(&self, client: &S3Client, name: &'static str, tag: &str, spec: &[&str]) -> Result<(Contender, PathBuf)> {
        let dir = self.work.join(format!("{name}-{tag}"));
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let contender = match peers::named(name) {
            Some(peer) => peer.start(&self.seat(client, &dir)).with_context(|| starting(name)),
            None => self.start_ours(client, name, &dir, spec).with_context(|| format!("start {name}")),
        };
        Ok((contender?, dir))
    }

    /// Where a peer is started, with its mount and cache in this directory.
    fn seat<'a>(&'a self, store: &'a S3Client, work: &'a Path) -> Seat<'a> {
        Seat { store, bucket: BUCKET, work, home: &self.work, cache_mib: self.cache_mib(), path: &self.args.path }
    }

    fn start_ours(&self, client: &S3Client, name: &'static str, dir: &Path, spec: &[&str]) -> Result<Contender> {
        let other = self.args.against.as_deref().filter(|_| name == AGAINST);
        let composed = matches!(name, COMPOSED | PINNED);
        let ours = Ours { name, program: other.unwrap_or(&self.program), composed, pinned: name == PINNED };
        let capacity = format!("{}Mi", self.cache_mib());
        let plain = ours.prepare(client, BUCKET, dir, &capacity, spec)?;
        let prepared = match name {
            FUSE => plain.without_passthrough(),
            RAM => plain.in_memory(&capacity),
            _ => plain,
        };
        prepared.start()
    }

    /// Size of all the data.
    fn data_mib(&self) -> u64 {
        4 * self.args.big_mib + ((self.data.small.len() as u64 * self.args.small_kib) >> 10)
    }

    /// Removes the caches of the contenders that were started cold. Not one by one: a file system that has just deleted thousands of files makes new ones
    /// slowly for minutes (ext4 without a journal looks at each inode again), and the next contender would pay for it.
    fn remove_cold(&self) -> Result<()> {
        for entry in fs::read_dir(&self.work)? {
            let entry = entry?;
            if COLD.iter().any(|tag| entry.file_name().to_string_lossy().contains(&format!("-{tag}-"))) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// A cache in which all of the data and its overhead has room.
    fn cache_mib(&self) -> u64 {
        self.data_mib() * 5 / 4 + 256
    }

    /// The same file of the data in a contender's tree.
    fn at(&self, contender: &Contender, paths: &[PathBuf]) -> Vec<PathBuf> {
        paths.iter().map(|p| contender.root.join(p.strip_prefix(&self.data.root).unwrap_or(p))).collect()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({
            "runs": self.args.runs,
            "server": self.args.server.name(),
            "large": format!("4 x {} MiB", self.args.big_mib),
            "small": format!("{} x {} KiB", self.args.small_files, self.args.small_kib),
            "catalog": self.args.catalog,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "kernel": kernel(),
        })
    }
}

/// What it was that failed, when a peer did not start, and how to measure without it.
fn starting(peer: &str) -> String {
    format!("start {peer}, which `--without {peer}` leaves out")
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Removes a directory that held a cache.
fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_peer_that_does_not_start_is_named_with_its_own_words_and_what_to_do() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let program = dir.path().join(peers::MOUNT_S3);
        fs::write(&program, "#!/bin/sh\necho \"no such bucket: $1\" >&2\nexit 1\n")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let lab = Lab {
            args: BenchArgs::short(PathBuf::new()).looking_on(dir.path().into()),
            program: PathBuf::new(),
            client: S3Client::new("http://127.0.0.1:9", "the-id", "the-secret"),
            data: Data { root: dir.path().to_path_buf(), big: Vec::new(), small: Vec::new() },
            work: dir.path().join("work"),
        };
        let started = lab.start(peers::MOUNT_S3, "cold-1", &[]);
        let error = started.map_or_else(|error| format!("{error:#}"), |_| "it started".into());
        for words in ["start mount-s3", "`--without mount-s3`", "mount-s3 ended at once", "no such bucket: bench"] {
            assert!(error.contains(words), "no {words:?} in {error:?}");
        }
        assert!(!error.contains("the-secret"), "{error}");
        Ok(())
    }
}
