use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::bench::{self, BenchArgs};
use crate::demo::{self, DemoArgs};
use crate::sh::{self, say};
use crate::{cluster, images, install, parts, promises, workspace};

/// What `cargo xtask test` may be told.
#[derive(Args, Debug, Default)]
pub(crate) struct TestArgs {
    /// Also check for known vulnerabilities; fetches the advisory database
    #[arg(long)]
    pub(crate) advisories: bool,
}

/// One stage and how it went.
struct Stage {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

/// `cargo xtask test`: all stages, even after one has failed, then a summary.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    let mut stages = Vec::new();
    let mut stage = |name: &'static str, body: &mut dyn FnMut() -> Result<()>| {
        say(&format!("== {name}"));
        let start = Instant::now();
        let error = body().err();
        if let Some(error) = &error {
            say(&format!("{name} failed: {error:#}"));
        }
        let failed = error.is_some();
        stages.push(Stage { name, took: start.elapsed(), error });
        !failed
    };
    // Nothing below works without these.
    let mut bin = PathBuf::new();
    let installed = stage("programs and servers", &mut || {
        install::debian(&["fusermount3", "rclone", "s3fs", "curl", "cc", "musl-gcc", "fsck.erofs"])?;
        install::debian(cluster::PROGRAMS)?;
        install::debian(promises::PROGRAMS)?;
        parts::ensure(parts::CLUSTER)?;
        parts::ensure(promises::PARTS)?;
        bin = parts::ensure(&["minio", "csi-sanity"])?;
        Ok(())
    });
    if installed {
        stage("format", &mut || cargo(&["fmt", "--all", "--check"]));
        stage("licences, bans, sources", &mut || deny(args.advisories));
        stage("lints and build", &mut || sh::run(workspace::linting_cargo("build")?.arg("--all-targets")).map(drop));
        stage("unit and model tests", &mut || {
            let mut command = workspace::linting_cargo("test")?;
            command
                .args(["--no-fail-fast", "--exclude", "forebay-e2e", "--exclude", "forebay-promises"])
                .env("FOREBAY_PARTS", &bin);
            sh::run(&mut command).map(drop)
        });
        stage("tests of the whole", &mut || whole(&workspace::program("forebay-agent", false)?, None));
        let images = workspace::target()?.join("images");
        // One optimised build, as shipped, for all that follows.
        if stage("images", &mut || images::for_tests(&images, false)) {
            let agent = images::agent()?;
            stage("demo", &mut || demo::run(&DemoArgs { small: true, keep: false, agent: Some(agent.clone()) }));
            stage("short benchmark", &mut || bench::run(&BenchArgs::short(agent.clone())));
            stage("promises in the cluster", &mut || promises::all(&images));
        } else {
            say("not run: demo, short benchmark and promises, for want of images");
        }
    }
    summary(&stages)?;
    say(&format!(
        "cut short: the agent was killed and upgraded {} times, and not 50 and 10 times (`cargo xtask promises faults`)",
        promises::ROUNDS_IN_GATE
    ));
    say("not run: real autoscalers of nodes and of pods, which take minutes to build (`cargo xtask promises karpenter hpa`)");
    say("not run: 2 GiB on three nodes at once, which takes five minutes (`cargo xtask promises stampede`)");
    if !args.advisories {
        say("not run: known vulnerabilities (needs the network; `cargo xtask test --advisories`)");
    }
    Ok(())
}

/// `cargo xtask e2e`: builds the program and runs the tests of the whole against it.
pub(crate) fn e2e(filter: Option<&str>) -> Result<()> {
    install::debian(&["fusermount3", "rclone", "curl"])?;
    parts::ensure(&["versitygw", "minio"])?;
    whole(&workspace::build_program("forebay-agent", "forebay-agent", false)?, filter)
}

fn whole(agent: &Path, filter: Option<&str>) -> Result<()> {
    if filter.is_none() {
        // What the tests rely on. By name: a choice of crates would build them with other features.
        let mut proxy = workspace::linting_cargo("test")?;
        sh::run(proxy.args(["--lib", "proxy::"]))?;
    }
    let mut command = workspace::linting_cargo("test")?;
    command.args(["--test", "whole"]).args(filter).env("FOREBAY_AGENT", agent);
    sh::run(&mut command).map(drop)
}

fn deny(advisories: bool) -> Result<()> {
    let program = install::cargo_deny()?;
    let mut command = std::process::Command::new(program);
    command.current_dir(workspace::root()?).args(["--locked", "--all-features", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    sh::run(&mut command).map(drop)
}

fn cargo(args: &[&str]) -> Result<()> {
    sh::run(workspace::cargo()?.args(args)).map(drop)
}

fn summary(stages: &[Stage]) -> Result<()> {
    say("");
    for stage in stages {
        let word = if stage.error.is_none() { "ok" } else { "FAILED" };
        say(&format!("{:>7.1} s  {:<6}  {}", stage.took.as_secs_f64(), word, stage.name));
    }
    let total: Duration = stages.iter().map(|s| s.took).sum();
    say(&format!("{:>7.1} s  in all", total.as_secs_f64()));
    let failed: Vec<_> = stages.iter().filter(|s| s.error.is_some()).map(|s| s.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}
