//! `forebay-agent status`: how the Datasets of a running agent do, for people and for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use forebay_api::DatasetReport;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::{clean, details, seconds_between, span};

mod json;
mod table;
#[cfg(test)]
mod tests;

/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What `status` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// A table, and below it what is worth knowing of each Dataset.
    #[default]
    Text,
    /// A Kubernetes list of Datasets with their status.
    Json,
}

/// Asks the agent that runs with `--state STATE_DIR` and prints what it says; with `watch`, again whenever it changes,
/// until the agent ends.
pub(crate) async fn command(state_dir: &Path, output: Output, watch: bool) -> anyhow::Result<()> {
    let mut client = forebay_api::connect(state_dir).await?;
    if !watch {
        let datasets = client.status(None).await?;
        return print(&render(&datasets, output, false)?);
    }
    let redraw = output == Output::Text && io::stdout().is_terminal();
    let mut states = client.watch(None, INTERVAL).await?;
    let mut first = true;
    while let Some(datasets) = states.next().await? {
        let text = render(&datasets, output, true)?;
        // A terminal shows one state at a time; what is piped gets them one after another.
        print(&match (redraw, output, first) {
            (true, ..) => format!("\x1b[H\x1b[2J\x1b[3J{text}"),
            (false, Output::Text, false) => format!("\n{text}"),
            _ => text,
        })?;
        first = false;
    }
    anyhow::bail!("the agent has ended")
}

/// What is printed of one state.
fn render(datasets: &[DatasetReport], output: Output, watch: bool) -> anyhow::Result<String> {
    Ok(match output {
        Output::Text => text(datasets, Timestamp::now()),
        // One state a line, when there will be several.
        Output::Json => json::json(datasets, !watch)?,
    })
}

/// The table and the details.
fn text(datasets: &[DatasetReport], now: Timestamp) -> String {
    let mut text = table::table(datasets, now);
    for dataset in datasets {
        text.push('\n');
        text.push_str(&headline(dataset, now));
        text.push('\n');
        if let Some(why) = &dataset.not_native {
            text.push_str(&format!("  reads      through the agent: {}\n", clean(why)));
        }
        text.push_str(&details(&dataset.status, dataset.listing, now));
    }
    text
}

fn headline(dataset: &DatasetReport, now: Timestamp) -> String {
    let at = clean(&dataset.at.to_string_lossy());
    let place = if dataset.mounted { format!("mounted at {at}") } else { format!("not mounted yet (will be at {at})") };
    let catalog = &dataset.status.catalog;
    let listed = match (&catalog.listed_at, catalog.generation) {
        (_, 0) => ", not listed yet".to_owned(),
        (Some(time), number) => format!(", listing {number} made {} ago", span(seconds_between(time.0, now))),
        (None, number) => format!(", listing {number}"),
    };
    format!("{}: {place}{listed}", clean(&dataset.full_name().to_string()))
}

/// Writes to the standard output. A reader that went away, such as `head`, is no error of ours: the program ends.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
