use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_e2e::wait_until;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process of the cluster that may outlive the program that started it. A file says which it is: its id, and when it began,
/// because ids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Daemon {
    pid: u32,
    /// In clock ticks since the machine's start.
    began: u64,
}

impl Daemon {
    /// Starts a program with its output appended to `log` and remembers it in `file`.
    pub(crate) fn spawn(command: &mut Command, log: &Path, file: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // The terminal's Ctrl-C is for the program in the foreground, not for a cluster that is meant to stay.
        let mut child = command.process_group(0).spawn().with_context(|| format!("start {name}"))?;
        let daemon = Self::of(child.id()).with_context(|| format!("{name} ended at once; see {}", log.display()))?;
        std::thread::spawn(move || child.wait());
        daemon.remember(file)?;
        Ok(daemon)
    }

    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let began = stat(pid)?.1;
        Some(Self { pid, began })
    }

    /// This process.
    pub(crate) fn myself() -> Result<Self> {
        Self::of(std::process::id()).context("read /proc/self/stat")
    }

    pub(crate) fn remember(self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_vec(&self)?).with_context(|| format!("write {}", file.display()))
    }

    /// The one that `file` speaks of, if there is such a file.
    pub(crate) fn recall(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    pub(crate) fn alive(self) -> bool {
        matches!(stat(self.pid), Some((state, began)) if began == self.began && state != 'Z')
    }

    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        // The descriptor stands for one process, whoever gets its number later: check, then signal through it.
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        if self.alive() {
            let sent = pidfd_send_signal(&fd, signal);
            if sent != Err(rustix::io::Errno::SRCH) {
                sent.with_context(|| format!("signal process {}", self.pid))?;
            }
        }
        Ok(())
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal)?;
        wait_until(&format!("process {} to end", self.pid), limit, || Ok((!self.alive()).then_some(())))
    }
}

/// Where processes are remembered.
pub(crate) fn files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|p| p.extension().is_some_and(|e| e == "pid")).collect()
}

/// State and start of a process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces: fields are counted from behind it. State is field 3, start is field 22.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn another_process_of_the_same_number_is_not_the_one_remembered() {
        let me = Daemon::myself().unwrap();
        assert!(me.alive());
        let former = Daemon { began: me.began - 1, ..me };
        assert!(!former.alive());
        // Were it taken for the other, this test would end here.
        former.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn a_remembered_process_ends_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sleep.pid");
        let mut command = Command::new("sleep");
        let daemon = Daemon::spawn(command.arg("1000"), &dir.path().join("log"), &file).unwrap();
        assert_eq!(Daemon::recall(&file), Some(daemon));
        daemon.end(Signal::TERM, Duration::from_secs(20)).unwrap();
        assert!(!daemon.alive());
    }
}
