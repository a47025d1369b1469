use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use forebay_e2e::{AgentFiles, S3Client, S3Server, TreeSize, TreeSum, build_tree, mounts_below, unmount_below, wait_until};

use crate::sh::say;
use crate::{install, interrupt, parts, workspace};

mod compare;

/// What `cargo xtask demo` may be told.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// A tree of 1,500 files instead of 20,000
    #[arg(long)]
    pub(crate) small: bool,
    /// Leave everything running until Ctrl-C, to look at
    #[arg(long)]
    pub(crate) keep: bool,
    /// Build nothing: show this forebay-agent
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) agent: Option<PathBuf>,
}

/// The bucket that holds the tree.
const BUCKET: &str = "tree";

/// `cargo xtask demo`: a real store, a real tree, a mount; every byte compared, speed shown beside its peers.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    interrupt::take_over()?;
    say("[1/6] programs");
    install::debian(&["fusermount3", "rclone", "s3fs"])?;
    parts::ensure(&["versitygw"])?;
    let program = workspace::agent(args.agent.as_deref())?;

    say("[2/6] a real tree: the sources this was built from and the toolchain's libraries");
    let work = tempfile::Builder::new().prefix("forebay-demo-").tempdir().context("make a temporary directory")?;
    interrupt::also_remove(work.path().to_path_buf());
    let source = work.path().join("source");
    let size = if args.small { TreeSize::Small } else { TreeSize::Full };
    let (files, bytes) = build_tree(&workspace::root()?, &source, size)?;
    say(&format!("      {files} files, {:.0} MB", bytes as f64 / 1e6));

    say("[3/6] a real S3 server (versitygw) with the tree in a bucket");
    let server = S3Server::versitygw(work.path())?;
    let client = server.client();
    let start = Instant::now();
    client.make_bucket(BUCKET)?;
    client.upload(&source, BUCKET)?;
    say(&format!("      uploaded in {:.0} s to {}/{BUCKET}", start.elapsed().as_secs_f64(), server.endpoint()));

    let mut mount = Mount::start(&program, &client, work.path())?;
    say("[5/6] every byte of the tree through the mount");
    compare_trees(&source, &mount.root)?;
    if args.keep {
        mount.wait_for_the_person()?;
    }
    mount.stop()?;
    say("[6/6] speed beside the peers, on the same server");
    compare::run(&program, &client, BUCKET, &source, work.path())?;
    drop(server);
    say("      removing it all");
    ensure!(mounts_below(work.path())?.is_empty(), "a mount was left behind below {}", work.path().display());
    work.close().context("remove the temporary directory")?;
    say("All of it was removed again. `cargo xtask demo --keep` leaves the mount for you to look at.");
    Ok(())
}

/// The demo's own `forebay-agent mount`, whose progress goes to the person's terminal.
struct Mount {
    agent: std::process::Child,
    files: AgentFiles,
    root: PathBuf,
}

impl Mount {
    fn start(program: &Path, client: &S3Client, work: &Path) -> Result<Self> {
        let files = AgentFiles::with_program(&work.join("forebay"), program.to_path_buf())?;
        fs::write(&files.manifest, manifest(client, &files)?)?;
        say(&format!("[4/6] forebay-agent mount --manifest {}", files.manifest.display()));
        let agent = files.mount_command().stdin(Stdio::null()).spawn().context("start forebay-agent")?;
        let root = files.at.join("sources");
        let mut mount = Self { agent, files, root };
        let limit = Duration::from_secs(120);
        wait_until("the Dataset to be mounted", limit, || {
            ensure!(mount.agent.try_wait()?.is_none(), "forebay-agent ended");
            Ok((mounts_below(&mount.root)?.contains(&mount.root) && fs::read_dir(&mount.root).is_ok()).then_some(()))
        })?;
        wait_until("the prefetch to end", Duration::from_secs(300), || Ok(mount.is_cached()?.then_some(())))?;
        say(mount.status("text")?.trim_end());
        Ok(mount)
    }

    fn status(&self, format: &str) -> Result<String> {
        let mut command = Command::new(&self.files.program);
        command.arg("status").arg("--state").arg(&self.files.state).args(["-o", format]);
        crate::sh::read(&mut command)
    }

    fn is_cached(&self) -> Result<bool> {
        Ok(self.status("json")?.contains("\"percent\": 100"))
    }

    fn wait_for_the_person(&mut self) -> Result<()> {
        say(&format!(
            "The tree is at {}\nAsk: {} status --state {}",
            self.root.display(),
            self.files.program.display(),
            self.files.state.display()
        ));
        say("Ctrl-C ends it.");
        interrupt::expect_one();
        self.agent.wait().context("wait for forebay-agent")?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if self.agent.try_wait()?.is_none() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.agent), rustix::process::Signal::TERM)?;
            let status = wait_until("forebay-agent to end", Duration::from_secs(30), || Ok(self.agent.try_wait()?))?;
            ensure!(status.success(), "forebay-agent ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Only reached early after an error, which is what the person is told.
        if self.stop().is_err() {
            let _ = self.agent.kill();
            let _ = self.agent.wait();
        }
        let _ = unmount_below(&self.files.at);
    }
}

/// `examples/standalone.yaml` with this store's address and keys and this machine's directory.
fn manifest(client: &S3Client, files: &AgentFiles) -> Result<String> {
    let path = workspace::root()?.join("examples/standalone.yaml");
    let mut text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let (access, secret) = client.keys();
    let tier = files.tier.display().to_string();
    for (example, here) in [
        ("http://127.0.0.1:9000", client.endpoint()),
        ("EXAMPLE-ACCESS-KEY", access),
        ("EXAMPLE-SECRET-KEY", secret),
        ("/var/lib/forebay", tier.as_str()),
        ("20Gi", "2Gi"),
    ] {
        ensure!(text.contains(example), "{} does not hold {example} any more", path.display());
        text = text.replace(example, here);
    }
    Ok(text)
}

fn compare_trees(source: &Path, mounted: &Path) -> Result<()> {
    let start = Instant::now();
    let (expected, found) = (TreeSum::of(source, 4)?, TreeSum::of(mounted, 4)?);
    let differences = expected.differences(&found);
    ensure!(differences.is_empty(), "the mounted tree is not the source:\n{}", differences.join("\n"));
    let (files, mb, seconds) = (found.files.len(), found.bytes() as f64 / 1e6, start.elapsed().as_secs_f64());
    say(&format!("      {files} files, {mb:.0} MB equal in {seconds:.1} s: {}", found.digest()));
    Ok(())
}
