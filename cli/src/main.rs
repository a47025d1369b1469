//! `kubectl forebay`: Datasets, seen and steered from the command line. Talks to the Kubernetes API only, as the user of the kubeconfig.

mod change;
mod cli;
mod cluster;
mod completion;
mod doctor;
mod evict;
mod follow;
mod nodes;
mod patch;
mod pods;
mod prefetch;
mod print;
mod progress;
mod refresh;
mod status;
mod wait;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::cluster::Cluster;

/// What could not be done or looked at. Below it: a doctor's findings, which are an answer.
const FAILED: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            print::error(&print::causes(&error));
            ExitCode::from(FAILED)
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    if let Some(words) = completion::asked_by_kubectl() {
        return completion::answer(&words).await;
    }
    let Cli { target, command } = Cli::parse();
    if let Command::Completion { shell } = command {
        return completion::script(shell);
    }
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("TLS was set up twice"))?;
    let cluster = Cluster::connect(&target).await?;
    match command {
        Command::Doctor(args) => return doctor::run(&cluster, &args).await,
        Command::Status(args) => status::run(&cluster, &args).await,
        Command::Refresh(args) => refresh::run(&cluster, &args).await,
        Command::Prefetch(args) => prefetch::run(&cluster, &args).await,
        Command::Pin(args) => prefetch::pin(&cluster, &args).await,
        Command::Evict(args) => evict::run(&cluster, &args).await,
        Command::Nodes(args) => nodes::run(&cluster, &args).await,
        Command::Completion { .. } => Ok(()),
    }
    .map(|()| ExitCode::SUCCESS)
}
