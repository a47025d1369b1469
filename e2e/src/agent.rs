use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use crate::{Manifest, Process, wait_until};

/// The program under test: `$FOREBAY_AGENT`, else `forebay-agent` in the target directory that this test runs from.
pub fn agent_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FOREBAY_AGENT") {
        return Ok(path.into());
    }
    let this = std::env::current_exe()?;
    let found = this.ancestors().skip(1).take(2).map(|dir| dir.join("forebay-agent")).find(|path| path.is_file());
    found.with_context(|| format!("no forebay-agent beside {}: run the tests by `cargo xtask e2e`", this.display()))
}

/// Where one agent keeps its things. All below one directory that the test owns.
#[derive(Clone, Debug)]
pub struct AgentFiles {
    /// The manifest file.
    pub manifest: PathBuf,
    /// Datasets are mounted below it.
    pub at: PathBuf,
    /// The agent's state.
    pub state: PathBuf,
    /// The disk tier's directory.
    pub tier: PathBuf,
    /// The agent's output.
    pub log: PathBuf,
    /// The agent's program.
    pub program: PathBuf,
    /// More of its arguments.
    pub arguments: Vec<String>,
}

impl AgentFiles {
    /// Makes the directories below `work`, for the program under test.
    pub fn below(work: &Path) -> Result<Self> {
        Self::with_program(work, agent_binary()?)
    }

    /// Makes the directories below `work`, for this program.
    pub fn with_program(work: &Path, program: PathBuf) -> Result<Self> {
        let (at, state, tier) = (work.join("mnt"), work.join("state"), work.join("tier"));
        for dir in [&at, &state, &tier] {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        Ok(Self {
            manifest: work.join("manifest.yaml"),
            at,
            state,
            tier,
            log: work.join("agent.log"),
            program,
            arguments: Vec::new(),
        })
    }

    /// `forebay-agent mount` with these files.
    pub fn mount_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("mount").arg("--manifest").arg(&self.manifest);
        command.args(&self.arguments);
        command.arg("--at").arg(&self.at).arg("--state").arg(&self.state).args(["--metrics-addr", "127.0.0.1:0"]);
        // A panic's backtrace is wanted, one behind every error message is not.
        command.env("RUST_LIB_BACKTRACE", "0");
        command
    }
}

/// A running `forebay-agent mount` with one Dataset.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Process,
    /// Its files.
    pub files: AgentFiles,
    /// The Dataset's name.
    pub dataset: String,
}

impl Agent {
    /// Writes the manifest, starts the agent and returns at once.
    pub fn spawn(files: &AgentFiles, manifest: &Manifest) -> Result<Self> {
        fs::write(&files.manifest, manifest.to_yaml())?;
        let process = Process::spawn("forebay-agent", files.mount_command(), &files.log)?;
        Ok(Self { process, files: files.clone(), dataset: manifest.name.clone() })
    }

    /// Starts the agent and waits until the Dataset is mounted.
    pub fn start(files: &AgentFiles, manifest: &Manifest) -> Result<Self> {
        let mut agent = Self::spawn(files, manifest)?;
        agent.wait_mounted()?;
        Ok(agent)
    }

    /// The mounted tree.
    pub fn root(&self) -> PathBuf {
        self.files.at.join(&self.dataset)
    }

    /// Waits until the tree is mounted and answers; fails at once when the agent ends.
    pub fn wait_mounted(&mut self) -> Result<()> {
        let root = self.root();
        let (files, dataset) = (self.files.clone(), self.dataset.clone());
        let mounted_at = |item: Value| item["metadata"]["annotations"]["forebay.io/mounted-at"].is_string();
        let self_mounted = || item(&files, &dataset).is_ok_and(mounted_at);
        let process = &mut self.process;
        let outcome = wait_until("the Dataset to be mounted", Duration::from_secs(180), || {
            if let Some(status) = process.exited()? {
                return Ok(Some(Err(status)));
            }
            // What a killed agent left shows names as well: this one says when its own is there.
            Ok((mounts_below(&root)?.contains(&root) && fs::read_dir(&root).is_ok() && self_mounted()).then_some(Ok(())))
        });
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("forebay-agent ended with {status}:\n{}", self.process.tail()),
            Err(error) => Err(error.context(self.process.tail())),
        }
    }

    /// `forebay-agent status -o json`, the part of this Dataset.
    pub fn status(&self) -> Result<Value> {
        item(&self.files, &self.dataset).map(|item| item["status"].clone())
    }

    /// What `forebay-agent status` says to people.
    pub fn words(&self) -> Result<String> {
        let output = Command::new(&self.files.program).args(["status", "--state"]).arg(&self.files.state).output()?;
        ensure!(output.status.success(), "forebay-agent status: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `forebay-agent refresh`: asks for a new listing, and does not wait for it.
    pub fn refresh(&self) -> Result<()> {
        let mut command = Command::new(&self.files.program);
        let output = command.args(["refresh", "--state"]).arg(&self.files.state).arg(&self.dataset).output()?;
        ensure!(output.status.success(), "forebay-agent refresh: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Waits until `accept` likes the status; shows the last one when time is up.
    pub fn wait_status(&self, what: &str, limit: Duration, accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        wait_until(what, limit, || {
            last = self.status()?;
            Ok(accept(&last).then(|| last.clone()))
        })
        .with_context(|| format!("last status: {last:#}\n{}", self.process.tail()))
    }

    /// `IP:PORT` where metrics and health are served, as the agent's log tells it.
    pub fn metrics_address(&self) -> Result<String> {
        let output = self.process.output();
        let line = output.lines().rev().find(|l| l.contains("serving metrics")).context("no word of metrics in the log")?;
        let address = line.split_once("address=").context("no address in the log's line")?.1;
        Ok(address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect())
    }

    /// SIGTERM and wait: true when it ended by itself with code 0.
    pub fn stop(&mut self) -> Result<bool> {
        self.process.stop(Duration::from_secs(60))
    }

    /// SIGKILL and wait.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Best effort: a test that failed must not leave a mount behind for the next one. Memory tiers outlive an agent by design,
        // and are below its state directory.
        let _ = self.process.stop(Duration::from_secs(10));
        let _ = unmount_below(&self.files.at);
        let _ = unmount_below(&self.files.state);
    }
}

/// What `forebay-agent status -o json` says of the Dataset.
fn item(files: &AgentFiles, dataset: &str) -> Result<Value> {
    let output = Command::new(&files.program).args(["status", "-o", "json", "--state"]).arg(&files.state).output()?;
    ensure!(output.status.success(), "forebay-agent status: {}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).context("parse the status")?;
    let items = list["items"].as_array().with_context(|| format!("the status is no list: {list}"))?;
    let item = items.iter().find(|item| item["metadata"]["name"] == dataset);
    item.cloned().with_context(|| format!("no Dataset {dataset} in {list}"))
}

/// Mount points at or below `dir`, in the order of mounting.
pub fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|p| PathBuf::from(p.replace("\\040", " ")));
    Ok(points.filter(|p| p.starts_with(dir)).collect())
}

/// Unmounts everything at or below `dir`, lazily, last mounted first.
pub fn unmount_below(dir: &Path) -> Result<()> {
    for point in mounts_below(dir)?.iter().rev() {
        unmount(point, UnmountFlags::DETACH).with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}
