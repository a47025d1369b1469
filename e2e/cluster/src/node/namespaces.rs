use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_e2e::{parts_bin, wait_until};

use super::config::PARTS;
use crate::daemon::Daemon;
use crate::run::run;

/// The namespaces of a node, found through their first process. When that ends, the kernel ends all others and unmounts all.
pub(super) struct Namespaces {
    init: Daemon,
}

impl Namespaces {
    pub(super) fn of(init: Daemon) -> Self {
        Self { init }
    }

    /// Makes new ones, except for the network namespace, which is there.
    pub(super) fn create(net: &Path, log: &Path, outer: &Path, inner: &Path) -> Result<Self> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", net.display())).arg("--").arg("unshare");
        command.args([
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        // The first process has one task: orphans are its children, and who ignores SIGCHLD lets the kernel reap them.
        command.args(["--", "env", "--ignore-signal=CHLD", "sleep", "infinity"]);
        let unshare = Daemon::spawn(&mut command, log, outer)?;
        let init = child_that_is(unshare, "sleep", log)?;
        init.remember(inner)?;
        Ok(Self { init })
    }

    /// Gives the node its name, its own directories and its kernel settings. `home` holds its `var` and `opt`.
    pub(super) fn set_up(&self, name: &str, home: &Path) -> Result<()> {
        let (var, opt) = (home.join("var"), home.join("opt"));
        for dir in ["lib/kubelet", "lib/containerd", "lib/cni", "log", "tmp"] {
            fs::create_dir_all(var.join(dir)).with_context(|| format!("create {dir} in {}", var.display()))?;
        }
        let inner_parts = opt.join(PARTS.trim_start_matches("/opt/"));
        fs::create_dir_all(&inner_parts).with_context(|| format!("create {}", inner_parts.display()))?;
        if fs::symlink_metadata(var.join("run")).is_err() {
            std::os::unix::fs::symlink("/run", var.join("run")).context("link /var/run")?;
        }
        let parts = parts_bin()?;
        let parts = parts.parent().context("the parts' directory has no parent")?;
        // What comes from the machine's directories goes first: the later mounts may hide those.
        for (from, to) in [(parts, inner_parts.as_path()), (&opt, Path::new("/opt")), (&var, Path::new("/var"))] {
            self.run(&["mount", "--rbind", path(from)?, path(to)?])?;
        }
        self.run(&["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
        // Mounts made in a container reach the node, and the node's reach containers: what CSI rests on.
        self.run(&["mount", "--make-rshared", "/"])?;
        self.run(&["busybox", "hostname", name])?;
        self.run(&["busybox", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])?;
        // Pods of one node reach each other through a service only if bridged packets pass the rules.
        self.run(&["busybox", "sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1"])
            .context("the kernel's br_netfilter is needed: load it with `modprobe br_netfilter`")?;
        Ok(())
    }

    pub(super) fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.pid().to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
        command.args(words.iter().map(AsRef::as_ref));
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", format!("{PARTS}/bin:{system}")).current_dir("/");
        command
    }

    /// Starts a program that is to run on in the node.
    pub(super) fn spawn(&self, words: &[&str], log: &Path, file: &Path) -> Result<()> {
        // The path that is set is for the program; the machine's own finds nsenter.
        let nsenter = Daemon::spawn(&mut self.command(words), log, file)?;
        let program = words.first().context("no program to start")?;
        child_that_is(nsenter, program, log)?.remember(file)
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command(words)).map(drop)
    }
}

/// Waits until `parent` has forked and its child runs `program`, which is when the namespaces are entered. Gives the child.
fn child_that_is(parent: Daemon, program: &str, log: &Path) -> Result<Daemon> {
    let what = format!("{program} to start (see {})", log.display());
    wait_until(&what, Duration::from_secs(120), || {
        let pid = parent.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let child = children.split_whitespace().find_map(|child| {
            let line = fs::read(format!("/proc/{child}/cmdline")).ok()?;
            let first = line.split(|byte| *byte == 0).next()?;
            let named = first == program.as_bytes();
            named.then(|| Daemon::of(child.parse().ok()?)).flatten()
        });
        Ok(child)
    })
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
