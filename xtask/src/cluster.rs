use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use forebay_cluster::{Cluster, ClusterOptions};

use crate::sh::say;
use crate::{install, parts, workspace};

/// Programs of the machine that a cluster is made with.
pub(crate) const PROGRAMS: &[&str] = &["runc", "/usr/lib/cni/bridge", "iptables", "ip", "busybox", "nsenter"];

#[derive(Args, Debug)]
pub(crate) struct ClusterArgs {
    /// Where its state is [default: `cluster` in the cache directory]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Starts a cluster that stays until `down`
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=i64::from(forebay_cluster::MAX_NODES)))]
        nodes: u8,
        /// Second number of its addresses, for a second cluster beside another
        #[arg(long, default_value_t = 88)]
        network: u8,
        /// Archive of an image that every node gets; may be repeated
        #[arg(long)]
        image: Vec<PathBuf>,
    },
    /// Ends it and removes all but its logs; also what a killed one left
    Down,
    /// Runs kubectl: `cargo xtask cluster kubectl -- get pods`
    Kubectl {
        /// kubectl's arguments
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Runs helm: `cargo xtask cluster helm -- list`
    Helm {
        /// helm's arguments
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Imports images' archives into every node
    Import {
        /// The archives
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Runs a command in a node: `cargo xtask cluster node n1 -- mount`
    Node {
        /// `n1`, ...
        name: String,
        /// The command; a shell when there is none
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// `cargo xtask cluster`.
pub(crate) fn run(args: &ClusterArgs) -> Result<()> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => workspace::cache()?.join("cluster"),
    };
    match &args.action {
        Action::Up { nodes, network, image } => {
            install::debian(PROGRAMS)?;
            parts::ensure(parts::CLUSTER)?;
            let start = Instant::now();
            let options = ClusterOptions { nodes: *nodes, network: *network, images: image.clone(), ..ClusterOptions::new(dir) };
            let cluster = Cluster::start(&options)?;
            say(&format!("{nodes} nodes ready in {:.1} s", start.elapsed().as_secs_f64()));
            say(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
            cluster.hand_over()
        }
        Action::Down => Cluster::remove(&dir),
        Action::Kubectl { args } => replace(Cluster::open(&dir)?.command("kubectl")?.args(args)),
        Action::Helm { args } => replace(Cluster::open(&dir)?.command("helm")?.args(args)),
        Action::Import { archives } => {
            let cluster = Cluster::open(&dir)?;
            archives.iter().try_for_each(|archive| cluster.import_image(archive))
        }
        Action::Node { name, command } => {
            let node = Cluster::open(&dir)?.node(name)?;
            let shell = ["sh".to_owned()];
            replace(&mut node.command(if command.is_empty() { &shell } else { command })?)
        }
    }
}

/// Becomes the command, so that the terminal and the exit status are its own.
fn replace(command: &mut Command) -> Result<()> {
    std::io::stdout().flush().context("flush standard output")?;
    let error = command.exec();
    bail!("start {}: {error}", command.get_program().to_string_lossy())
}
