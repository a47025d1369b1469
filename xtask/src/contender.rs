use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forebay_e2e::{Agent, AgentFiles, Manifest, MountSpec, Process, S3Client, mounts_below, unmount_below, wait_until};

pub(crate) mod juicefs;
pub(crate) mod peers;

/// One way to read the same tree.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Where the tree is.
    pub(crate) root: PathBuf,
    runs: Runs,
}

/// One build of ours, and how it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    /// What people call it.
    pub(crate) name: &'static str,
    /// `forebay-agent`.
    pub(crate) program: &'a Path,
    /// Composed.
    pub(crate) composed: bool,
    /// With everything pinned.
    pub(crate) pinned: bool,
}

/// One build of ours before its start, with an empty cache.
#[derive(Debug)]
pub(crate) struct Prepared {
    name: &'static str,
    files: AgentFiles,
    manifest: Manifest,
}

#[derive(Debug)]
enum Runs {
    /// The kernel's own file system.
    Native,
    Forebay(Box<Agent>),
    Peer(Process),
}

impl Ours<'_> {
    /// An empty cache of `capacity` on the disk, below `work`. `spec` holds further lines of the Dataset's spec.
    pub(crate) fn prepare(self, store: &S3Client, bucket: &str, work: &Path, capacity: &str, spec: &[&str]) -> Result<Prepared> {
        let mut files = AgentFiles::with_program(work, self.program.to_path_buf())?;
        let mount = MountSpec::s3("/", bucket, store.endpoint(), store.keys());
        let mut manifest = Manifest::new("tree", vec![mount], &files.tier, capacity);
        manifest.spec.extend(spec.iter().map(|s| s.to_string()));
        if self.composed {
            files.arguments.push("--composed".into());
        }
        if self.pinned {
            manifest.spec.push("pin: {paths: [/]}".into());
        }
        Ok(Prepared { name: self.name, files, manifest })
    }
}

impl Prepared {
    /// The agent answers every read itself.
    pub(crate) fn without_passthrough(mut self) -> Self {
        self.files.arguments.push("--no-passthrough".into());
        self
    }

    /// The cache is in memory, and nothing of it on the disk.
    pub(crate) fn in_memory(mut self, capacity: &str) -> Self {
        self.manifest = self.manifest.in_memory(capacity);
        self
    }

    /// Starts the agent and waits for its mount.
    pub(crate) fn start(self) -> Result<Contender> {
        let agent = Agent::start(&self.files, &self.manifest)?;
        Ok(Contender { name: self.name, root: agent.root(), runs: Runs::Forebay(Box::new(agent)) })
    }
}

impl Contender {
    /// A directory of the kernel's own file system.
    pub(crate) fn native(name: &'static str, root: PathBuf) -> Self {
        Self { name, root, runs: Runs::Native }
    }

    /// A build of ours, prepared as [`Ours::prepare`] does and started.
    pub(crate) fn forebay(
        ours: Ours<'_>,
        store: &S3Client,
        bucket: &str,
        work: &Path,
        capacity: &str,
        spec: &[&str],
    ) -> Result<Self> {
        ours.prepare(store, bucket, work, capacity, spec)?.start()
    }

    /// Starts a program that mounts at `root`, and waits for it.
    fn peer(name: &'static str, command: Command, root: PathBuf, work: &Path) -> Result<Self> {
        let mut process = Process::spawn(name, command, &work.join("log"))?;
        let outcome = wait_until(&format!("{name} to mount"), Duration::from_secs(60), || {
            if process.exited()?.is_some() {
                return Ok(Some(false));
            }
            Ok((mounts_below(&root)?.contains(&root) && fs::read_dir(&root)?.next().is_some()).then_some(true))
        });
        match outcome {
            Ok(true) => Ok(Self { name, root, runs: Runs::Peer(process) }),
            Ok(false) => bail!("{name} ended at once: {}", process.tail()),
            Err(error) => {
                // What it has mounted and does not show would stay, dead.
                let _ = unmount_below(&root);
                Err(error.context(process.tail()))
            }
        }
    }

    /// The process behind the mount; `None` for the kernel's own.
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.runs {
            Runs::Native => None,
            Runs::Forebay(agent) => Some(&agent.process),
            Runs::Peer(process) => Some(process),
        }
    }

    /// The agent, when this is Forebay.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        match &self.runs {
            Runs::Forebay(agent) => Some(agent),
            _ => None,
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if let Runs::Peer(process) = &mut self.runs {
            // The mount goes first: a FUSE program that is killed leaves a dead one behind. What remains shows in the next line of the caller.
            let _ = unmount_below(&self.root);
            let _ = process.stop(Duration::from_secs(10));
        }
    }
}

fn make(work: &Path, name: &str) -> Result<PathBuf> {
    let dir = work.join(name);
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}
