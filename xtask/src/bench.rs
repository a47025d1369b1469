//! One run measures every contender, interleaved, and prints medians and ratios.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use forebay_e2e::{S3Client, S3Server};

use crate::contender::{Contender, Ours};
use crate::sh::say;
use crate::{install, interrupt, parts, workspace};

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

use data::Data;
use results::Results;
use rows::{AGAINST, BUILDS, COMPOSED, FOREBAY, FUSE, MOUNTS, PINNED, RAM, WARM};

/// What `cargo xtask bench` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Small and quick; fails when a ratio falls below its floor
    #[arg(long)]
    short: bool,
    /// Runs of each measurement
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Size of each of the four large files in MiB
    #[arg(long, default_value_t = 512)]
    big_mib: u64,
    /// Number of small files
    #[arg(long, default_value_t = 20_000)]
    small_files: usize,
    /// Size of each small file in KiB
    #[arg(long, default_value_t = 100)]
    small_kib: u64,
    /// Entries of the large catalog; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000)]
    catalog: usize,
    /// Build nothing: measure this forebay-agent
    #[arg(long, value_name = "PROGRAM")]
    agent: Option<PathBuf>,
    /// Another build of forebay-agent, measured beside this one
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Measures only what starts with an empty cache
    #[arg(long)]
    cold: bool,
    /// The store; MinIO takes several times the processor time for a GET
    #[arg(long, value_enum, default_value_t = Server::Versitygw)]
    server: Server,
    /// Leaves out a contender: tmpfs, fuse, forebay (and with it fuse, composed, pinned and ram), composed, pinned, ram, rclone or s3fs
    #[arg(long)]
    without: Vec<String>,
    /// Where results.json and chart.svg go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Where the data and caches go while it runs; several times the data's size
    #[arg(long)]
    work: Option<PathBuf>,
}

/// The real server that is the store.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    Versitygw,
    Minio,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Versitygw => "versitygw",
            Server::Minio => "minio",
        }
    }

    /// Whether the directories of its data are buckets, and files in them objects.
    fn shows_files(self) -> bool {
        matches!(self, Server::Versitygw)
    }

    fn start(self, work: &Path) -> Result<S3Server> {
        parts::ensure(&[self.name()])?;
        match self {
            Server::Versitygw => S3Server::versitygw(work),
            Server::Minio => S3Server::minio(work),
        }
    }
}

impl BenchArgs {
    /// What `cargo xtask test` measures.
    pub(crate) fn short(agent: PathBuf) -> Self {
        BenchArgs {
            short: true,
            runs: 3,
            big_mib: 0,
            small_files: 0,
            small_kib: 100,
            catalog: 0,
            agent: Some(agent),
            against: None,
            cold: false,
            server: Server::Versitygw,
            without: Vec::new(),
            out: "target/bench-short".into(),
            work: None,
        }
    }

    fn sized(mut self) -> Self {
        if self.short {
            (self.big_mib, self.small_files, self.catalog) = (64, 2_000, 20_000);
        }
        self
    }

    /// Why a contender does not take part; `None` when it does.
    fn left_out(&self, name: &str) -> Option<&'static str> {
        if self.without.iter().any(|w| w == name) {
            return Some("by --without");
        }
        match name {
            AGAINST if self.against.is_none() => Some("for want of --against"),
            FUSE | COMPOSED | PINNED | RAM if !self.has(FOREBAY) => Some("with forebay, whose program it is"),
            // They have no floor: a figure that nobody reads is not worth the gate's time.
            FUSE | COMPOSED if self.short => Some("as in every short run"),
            // Two mount an overlay, the other a tmpfs.
            COMPOSED | PINNED | RAM if !rustix::process::geteuid().is_root() => {
                Some("for want of the right to mount; run it as root")
            }
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.left_out(name).is_none()
    }

    /// Those of `names` that take part in a run. Every other run goes the other way round: what was measured just before, and the
    /// disk's work for it, is not the same for the first and the second.
    fn taking_part(&self, names: &[&'static str], run: usize) -> Vec<&'static str> {
        let mut names: Vec<_> = names.iter().copied().filter(|name| self.has(name)).collect();
        if run.is_multiple_of(2) {
            names.reverse();
        }
        names
    }
}

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
    let args = args.clone().sized();
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
        let contender = match name {
            FOREBAY | AGAINST | FUSE | COMPOSED | PINNED | RAM => self.start_ours(client, name, &dir, spec),
            "rclone" => Contender::rclone(client, BUCKET, &dir),
            _ => Contender::s3fs(client, BUCKET, &dir),
        };
        Ok((contender.with_context(|| format!("start {name}"))?, dir))
    }

    fn start_ours(&self, client: &S3Client, name: &'static str, dir: &Path, spec: &[&str]) -> Result<Contender> {
        let other = self.args.against.as_deref().filter(|_| name == AGAINST);
        let composed = matches!(name, COMPOSED | PINNED);
        let ours = Ours { name, program: other.unwrap_or(&self.program), composed, pinned: name == PINNED };
        let capacity = self.capacity();
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
    fn capacity(&self) -> String {
        format!("{}Mi", self.data_mib() * 5 / 4 + 256)
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

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Removes a directory that held a cache.
fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}
