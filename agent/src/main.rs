//! `forebay-agent`: the data path of one node, alone or under the operator.

mod anew;
mod bounded;
mod cli;
mod cluster;
mod composed;
mod control;
mod engine;
mod metrics;
mod node;
mod progress;
mod served;
mod state;
mod status;
mod stores;
mod tiers;
mod view;
mod way;
mod wishes;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogFormat};
use crate::progress::Console;

// musl's own allocator has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let console = Console::stderr();
    // An allocator that asks for huge pages, or a kernel that always gives them, makes 2 MiB resident for each few KiB in use:
    // half of this process's memory, for nothing that it measurably gains. A kernel without them refuses, which is the same.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    match start(Cli::parse(), console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whatever the environment says, a wrong manifest is no reason for a backtrace.
            let _ = writeln!(std::io::stderr(), "forebay-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli, console: Console) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("--log {:?} is not a filter", cli.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(console.clone()).with_target(false);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(console.is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    let ring = rustls::crypto::ring::default_provider();
    ring.install_default().map_err(|_| anyhow!("TLS was set up twice"))?;
    opendal_http_transport_reqwest::install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Mount(mount) => node::run(mount, console).await,
            Command::Cluster(cluster) => cluster::run(cluster).await,
            Command::Status(ask) => status::command(&ask.state, ask.output, ask.watch).await,
            Command::Refresh(ask) => refresh(&ask).await,
        }
    })
}

async fn refresh(ask: &cli::Refresh) -> anyhow::Result<()> {
    let (namespace, name) = ask.dataset.split_once('/').unwrap_or(("default", &ask.dataset));
    let mut agent = forebay_api::connect(&ask.state).await?;
    agent.refresh(forebay_api::DatasetName::new(namespace, name)).await?;
    Ok(())
}
