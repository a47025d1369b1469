//! What people type.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::metrics::DEFAULT_ADDRESS;

/// The node agent of Forebay: mounts Datasets and keeps their data in local memory and on local disks.
#[derive(Debug, Parser)]
#[command(name = "forebay-agent", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Lines of the log: a filter such as `info` or `forebay_fetch=debug,warn`.
    #[arg(long, global = true, env = "FOREBAY_LOG", default_value = "info")]
    pub(crate) log: String,
    /// Form of the log's lines.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mount the Datasets of a manifest file, in the foreground, until SIGTERM or SIGINT.
    Mount(Mount),
    /// Serve the Datasets of a CacheRuntime on this node, as the operator says. The chart starts it so.
    Cluster(Cluster),
    /// Tell what a running agent's Datasets are doing.
    Status(Status),
    /// Ask a running agent to list a Dataset's stores again.
    Refresh(Refresh),
}

#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// File of Datasets, their CacheRuntime and their Secrets.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// Each Dataset is mounted at DIR/NAME.
    #[arg(long, value_name = "DIR")]
    pub(crate) at: PathBuf,
    /// Where this agent keeps its catalogs, its index and its socket; one agent a directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Where metrics and health are served; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADDRESS)]
    pub(crate) metrics_addr: SocketAddr,
    /// Bytes that may be in flight between stores and cache, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 48, value_parser = clap::value_parser!(u32).range(24..=65536))]
    pub(crate) memory: u32,
    /// Leave the memory tiers as they are at the end, so that the next start finds them warm. They keep their memory.
    #[arg(long)]
    pub(crate) keep_memory: bool,
    /// Mount through fusermount3 also where that is not needed.
    #[arg(long)]
    pub(crate) use_fusermount: bool,
    /// Show Snapshot Datasets as overlayfs over an image of their metadata, pinned files, and FUSE for the rest: names, attributes and
    /// pinned files are then the kernel's own. Needs root and Linux 6.12. Off while it has fewer tests than the plain mount.
    #[arg(long)]
    pub(crate) composed: bool,
    /// Read every file through this agent, also where the kernel could read complete ones by itself.
    #[arg(long)]
    pub(crate) no_passthrough: bool,
    /// Files of each mount that nobody has open and that are kept ready for the kernel to read by itself; about 2 KiB of the
    /// kernel's memory and half a KiB of this process's each.
    #[arg(long, value_name = "FILES", default_value_t = 16_384)]
    pub(crate) passthrough_kept: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// The CacheRuntime.
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: String,
    /// Where this agent keeps its catalogs, its index and what was last desired of it; one agent a directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Where csi's socket and the memory tiers are, shared with csi.
    #[arg(long, value_name = "DIR", default_value = "/run/forebay")]
    pub(crate) run: PathBuf,
    /// The operator's address.
    #[arg(long, value_name = "URL")]
    pub(crate) operator: String,
    /// File of the certificate authority that operator and agents trust, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,
    /// File of the pod's ServiceAccount token for the operator.
    #[arg(long, value_name = "FILE")]
    pub(crate) token: PathBuf,
    /// Name of this agent's pod.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "")]
    pub(crate) pod_name: String,
    /// Name of this agent's node. Without it no other agent is asked.
    #[arg(long, env = "NODE_NAME", value_name = "NAME", default_value = "")]
    pub(crate) node_name: String,
    /// Where the other agents of the CacheRuntime are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9102")]
    pub(crate) peer_addr: SocketAddr,
    /// Most bytes a second that this agent sends to all others together; without it there is no bound. In the CacheRuntime:
    /// spec.peers.bandwidth.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(forebay_peers::LEAST_BANDWIDTH..))]
    pub(crate) peer_bandwidth: Option<u64>,
    /// Where metrics and health are served.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADDRESS)]
    pub(crate) metrics_addr: SocketAddr,
    /// Bytes that may be in flight between stores and cache, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 48, value_parser = clap::value_parser!(u32).range(24..=65536))]
    pub(crate) memory: u32,
    /// Read every file through this agent, also where the kernel could read complete ones by itself. In the chart:
    /// agent.passthrough=false.
    #[arg(long)]
    pub(crate) no_passthrough: bool,
    /// Let csi compose no mount, also not for pods that stay on a listing; what is composed already stays as long as its pods.
    /// In the chart: agent.composed=false.
    #[arg(long)]
    pub(crate) no_composed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The agent's state directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = crate::status::Output::Text)]
    pub(crate) output: crate::status::Output,
    /// Go on, and tell each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Refresh {
    /// The agent's state directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// `namespace/name`, or a name in the namespace `default`.
    pub(crate) dataset: String,
}
