//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The CSI driver of Forebay.
#[derive(Debug, Parser)]
#[command(name = "forebay-csi", version)]
pub struct Cli {
    /// Which half of the driver.
    #[command(subcommand)]
    pub command: Command,
}

/// The halves of the driver.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mounts Datasets for the pods of this node; runs privileged on each node.
    Node(NodeArgs),
    /// Answers csi-provisioner; runs beside it and needs no privilege.
    Controller(ControllerArgs),
    /// Asks a running driver whether it is ready; fails if it is not. For the probes of either half's container.
    Probe(ProbeArgs),
}

/// Arguments of `node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Where kubelet reaches the driver.
    #[arg(long, env = "CSI_ENDPOINT", default_value = "unix:///csi/csi.sock")]
    pub endpoint: Endpoint,
    /// kubelet's directory for the sockets of plugins that register themselves (`KUBELET_DIR/plugins_registry`).
    #[arg(long, default_value = "/registration")]
    pub registration_dir: PathBuf,
    /// The endpoint as kubelet sees it, on the node's own file system [default: KUBELET_DIR/plugins/csi.forebay.io/csi.sock].
    #[arg(long)]
    pub kubelet_endpoint: Option<PathBuf>,
    /// The directory that csi and agents share: the socket by which they find each other, and the `Memory` tiers.
    #[arg(long, default_value = "/run/forebay")]
    pub run: PathBuf,
    /// kubelet's directory, at the same path as on the node, mounted with propagation `Bidirectional`.
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,
    /// The node's name.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// How far the kernel reads ahead of a sequential reader, in KiB.
    #[arg(long, default_value_t = 4096)]
    pub read_ahead_kib: u32,
    /// The namespace of pods of which the orchestrator says nothing. Kubernetes says it, by CSIDriver's `podInfoOnMount`; without
    /// either, no volume is published.
    #[arg(long)]
    pub without_pod_info: Option<String>,
}

/// Arguments of `controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Where csi-provisioner reaches the driver.
    #[arg(long, env = "CSI_ENDPOINT", default_value = "unix:///csi/csi.sock")]
    pub endpoint: Endpoint,
}

/// Arguments of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Where the driver listens.
    #[arg(long, env = "CSI_ENDPOINT", default_value = "unix:///csi/csi.sock")]
    pub endpoint: Endpoint,
}

/// A Unix socket: `unix:///path`, or the absolute path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(pub PathBuf);

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self(path.into()));
        }
        Err(format!("{text:?} is not a Unix socket: give unix:// and an absolute path"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn endpoints_are_absolute_sockets() {
        for (text, path) in [
            ("unix:///csi/csi.sock", Some("/csi/csi.sock")),
            ("unix:/csi/csi.sock", Some("/csi/csi.sock")),
            ("/csi/csi.sock", Some("/csi/csi.sock")),
            ("csi.sock", None),
            ("tcp://0.0.0.0:1", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Endpoint>().ok(), path.map(|path| Endpoint(path.into())), "{text}");
        }
    }

    #[test]
    fn the_command_lines_of_the_chart_are_understood() {
        let line = "forebay-csi node --endpoint unix:///csi/csi.sock --registration-dir /registration --run /run/forebay \
                    --kubelet-dir /var/lib/kubelet --node-name n1";
        let Command::Node(node) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!("node") };
        assert_eq!((node.node_name.as_str(), node.kubelet_dir.to_str()), ("n1", Some("/var/lib/kubelet")));
        let line = "forebay-csi controller --endpoint unix:///csi/csi.sock";
        assert!(matches!(Cli::try_parse_from(line.split_whitespace()).unwrap().command, Command::Controller(_)));
    }
}
