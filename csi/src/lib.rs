//! The CSI driver `csi.forebay.io`.

pub mod cli;
pub mod proto;

/// Runs the driver until it is told to end.
///
/// # Errors
/// What keeps it from serving.
pub async fn run(cli: cli::Cli) -> anyhow::Result<()> {
    let _ = cli;
    std::future::pending().await
}
