use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait_until;

/// A started program whose output goes to a file, and which is killed when the handle is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Self { name: name.into(), child, log: log.into(), status: None })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the program has printed so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// The last lines of its output, for error messages.
    pub fn tail(&self) -> String {
        let text = self.output();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// How it ended; `None` while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().with_context(|| format!("wait for {}", self.name))?;
        }
        Ok(self.status)
    }

    /// Sends a signal. A program that has ended already is no error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("signal {} (pid {})", self.name, self.pid()))
    }

    /// Waits for the end; an error, with the last output, after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to exit", self.name);
        wait_until(&what, limit, || self.exited()).map_err(|e| e.context(self.tail()))
    }

    /// SIGKILL, and waits until the kernel has taken the process down.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.wait(Duration::from_secs(30))
    }

    /// SIGTERM, then SIGKILL when it does not end within `limit`. True when it ended by itself with code 0.
    pub fn stop(&mut self, limit: Duration) -> Result<bool> {
        self.signal(Signal::TERM)?;
        match self.wait(limit) {
            Ok(status) => Ok(status.success()),
            Err(_) => {
                self.kill()?;
                Ok(false)
            }
        }
    }

    /// CPU seconds, user and system, used so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The command name in parentheses may hold spaces: fields are counted from behind it (utime is field 14).
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<f64>().ok()).context("short /proc/PID/stat");
        Ok((ticks(14)? + ticks(15)?) / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Anonymous plus shared memory in bytes (RssAnon + RssShmem), now: heap, stacks and what it has mapped of a tmpfs. Pages of files are
    /// not counted, mapped or not: the kernel takes them back. Nor is what it wrote to a tmpfs and has not mapped, as in a memory tier:
    /// that is on no process's account.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib: u64 = status
            .lines()
            .filter(|l| l.starts_with("RssAnon:") || l.starts_with("RssShmem:"))
            .filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum();
        Ok(kib * 1024)
    }

    /// The most that was resident at once since the start, in bytes (VmHWM): what [`Process::memory`] counts, and the pages of mapped
    /// files, its own text among them. The kernel keeps no peak of the former alone, so this lies above it also where nothing grew.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context("no VmHWM in /proc/PID/status")? * 1024)
    }

    /// Whether the end was by this signal.
    pub fn killed_by(status: ExitStatus, signal: Signal) -> bool {
        status.signal() == Some(signal.as_raw())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be reported from here, and a process that is gone already is what is wanted.
        let _ = self.kill();
    }
}
