//! The CSI driver: mounts Datasets on a node and keeps their descriptors (`node`), or answers csi-provisioner (`controller`).

use clap::Parser as _;
use forebay_csi::cli::Cli;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).json().init();
    tokio::runtime::Runtime::new()?.block_on(forebay_csi::run(cli))
}
