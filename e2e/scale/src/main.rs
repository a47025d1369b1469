//! What one operator costs with many agents and many Datasets: the real program against a real API server, driven by agents that
//! hold no data and speak the agents' own code of the stream.
//!
//! - [`lab`]: etcd, API server, the operator's process; [`objects`]: nodes, pods, tokens and Datasets in it.
//! - [`fleet`] and [`agent`]: the simulated agents; [`words`]: what they say, pure.
//! - [`audit`]: the operator's requests, as the API server writes them down.
//! - [`measure`]: the steps for one size; [`results`]: the figures, and what must hold of them.

mod agent;
mod audit;
mod fleet;
mod lab;
mod measure;
mod objects;
mod results;
mod words;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::measure::Load;

#[derive(Parser, Debug)]
#[command(about = "Measures one operator with many agents and Datasets")]
struct Cli {
    /// The operator's program
    #[arg(long)]
    operator: PathBuf,
    /// Numbers of agents
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    agents: Vec<usize>,
    /// Numbers of Datasets; each is measured with each number of agents
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    datasets: Vec<usize>,
    /// Seconds over which writes and processor time are counted
    #[arg(long, default_value_t = 30)]
    window: u64,
    /// Datasets that are being fetched
    #[arg(long, default_value_t = 20)]
    active: usize,
    /// Of these, on each agent, each with a report a second
    #[arg(long, default_value_t = 2)]
    changing: usize,
    /// Second number of the control plane's addresses
    #[arg(long, default_value_t = 95)]
    network: u8,
    /// Fails when a count is beyond its bound
    #[arg(long)]
    check: bool,
    /// Where the figures go, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let ring = rustls::crypto::ring::default_provider();
    ring.install_default().map_err(|_| anyhow!("TLS was set up twice"))?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let mut rows = Vec::new();
    for &datasets in &cli.datasets {
        for &agents in &cli.agents {
            let load = Load {
                agents,
                datasets,
                window: Duration::from_secs(cli.window),
                active: cli.active.min(datasets),
                changing: cli.changing,
            };
            say(&format!("{agents} agents, {datasets} Datasets"));
            let row = runtime.block_on(unless_told_to_end(measure::run(&cli.operator, cli.network, &load)))?;
            say(&serde_json::to_string(&row)?);
            rows.push(row);
            if let Some(out) = &cli.out {
                std::fs::write(out, serde_json::to_string_pretty(&rows)?).with_context(|| format!("write {}", out.display()))?;
            }
        }
    }
    say(&results::table(&rows));
    if cli.check { rows.iter().try_for_each(results::check) } else { Ok(()) }
}

/// What is measured ends, with all that it started, when this program is told to.
async fn unless_told_to_end<T>(measured: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        outcome = measured => outcome,
        _ = terminate.recv() => bail!("told to end"),
        _ = interrupt.recv() => bail!("interrupted"),
    }
}

/// Prints a line for the person at the terminal.
pub(crate) fn say(line: &str) {
    // Nobody to tell when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
