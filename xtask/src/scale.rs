use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{cluster, install, parts, sh, workspace};

/// What `cargo xtask scale` may be told.
#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    /// Numbers of agents
    #[arg(long, value_name = "N,N", default_value = "10,100,1000")]
    agents: String,
    /// Numbers of Datasets; each is measured with each number of agents
    #[arg(long, value_name = "N,N", default_value = "10,100,1000")]
    datasets: String,
    /// Where the figures go, as JSON
    #[arg(long, default_value = "target/scale.json")]
    out: PathBuf,
}

/// `cargo xtask scale`: one operator, a real API server, and many agents that hold no data.
pub(crate) fn run(args: &ScaleArgs) -> Result<()> {
    install::debian(cluster::PROGRAMS)?;
    let bin = parts::ensure(parts::CLUSTER)?;
    let operator = workspace::build_program("forebay-operator", "forebay-operator", true)?;
    let scale = workspace::build_program("forebay-scale", "forebay-scale", true)?;
    let out = workspace::root()?.join(&args.out);
    let dir = out.parent().context("--out names no file")?;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mut command = Command::new(scale);
    command.arg("--operator").arg(operator).arg("--out").arg(out);
    command.args(["--agents", &args.agents, "--datasets", &args.datasets]).env("FOREBAY_PARTS", bin);
    sh::run(&mut command).map(drop)
}
