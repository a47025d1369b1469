use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use forebay_crds::values::{TreePath, ValueError};
use humantime::Duration;

/// See and steer Forebay's Datasets: how far they are, what to fetch, pin or drop, and why one is not ready
#[derive(Parser, Debug)]
#[command(name = "kubectl-forebay", bin_name = "kubectl forebay", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster and namespace.
#[derive(Args, Debug, Default)]
pub(crate) struct Target {
    /// Namespace of the Dataset [default: that of the context]
    #[arg(short, long, global = true, help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, help_heading = "Cluster", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// How Datasets do: phase, size, share cached, prefetch, nodes, and what is not well
    Status(Status),
    /// List a Dataset's stores anew, so that new and changed files show
    Refresh(Refresh),
    /// Fetch a Dataset, or parts of it, before anyone reads it
    ///
    /// Changes spec.prefetch of the Dataset; what was asked for before stays asked for.
    Prefetch(Prefetch),
    /// Fetch files and keep them: what is pinned is never evicted
    ///
    /// Changes spec.pin of the Dataset; what was pinned before stays pinned.
    Pin(Pin),
    /// Drop a Dataset's cached data, or parts of it, on all nodes
    ///
    /// Pinned files stay, and files that are open are read on. Reads fetch the data again.
    Evict(Evict),
    /// The nodes that lend space: whether their agents serve, and how full their tiers are
    Nodes(Nodes),
    /// Why is a Dataset or a pod not ready? Each finding with its remedy
    ///
    /// Exit code 0: all is well. 1: there are findings. 2: the cluster could not be looked at.
    Doctor(Doctor),
    /// Print a script that completes `kubectl-forebay` in a shell
    ///
    /// For `kubectl forebay` itself link the program as kubectl_complete-forebay beside it: kubectl asks that one.
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// The Dataset [default: all of the namespace]
    pub(crate) name: Option<String>,
    /// Datasets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub(crate) all_namespaces: bool,
    /// Show progress until interrupted: bars on a terminal, lines elsewhere
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "watch")]
    pub(crate) output: Output,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: of `status` a Kubernetes list, of `doctor` a list of findings
    Json,
}

/// Whether to wait for the end of it.
#[derive(Args, Debug, Clone, Copy, Default)]
pub(crate) struct Wait {
    /// Wait until all nodes have done it, and show how far they are
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait no longer than this, such as 90s or 2h [default: as long as it takes]
    #[arg(long, requires = "wait")]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct Refresh {
    /// The Dataset
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Args, Debug)]
pub(crate) struct Prefetch {
    /// The Dataset
    pub(crate) name: String,
    /// Files and directories of the tree, such as /train [default: all of it]
    #[arg(value_parser = path)]
    pub(crate) paths: Vec<TreePath>,
    /// Fetch nothing ahead any more; what is cached stays
    #[arg(long, conflicts_with_all = ["paths", "wait"])]
    pub(crate) off: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Args, Debug)]
pub(crate) struct Pin {
    /// The Dataset
    pub(crate) name: String,
    /// Files and directories of the tree, such as /train; / is all of it
    #[arg(required = true, value_parser = path)]
    pub(crate) paths: Vec<TreePath>,
    /// Pin them no longer; what is cached stays until its space is needed
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Args, Debug)]
pub(crate) struct Evict {
    /// The Dataset
    pub(crate) name: String,
    /// Files and directories of the tree, such as /train [default: all of it]
    #[arg(value_parser = path)]
    pub(crate) paths: Vec<TreePath>,
    /// Also where it will be fetched again at once, because spec.prefetch asks for it
    #[arg(long)]
    pub(crate) refetch: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Args, Debug)]
pub(crate) struct Nodes {
    /// The CacheRuntime [default: all]
    pub(crate) runtime: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// The Dataset [default: all of the namespace]
    pub(crate) dataset: Option<String>,
    /// A pod that uses Datasets, instead
    #[arg(long, conflicts_with = "dataset")]
    pub(crate) pod: Option<String>,
    /// Datasets of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["dataset", "pod"])]
    pub(crate) all_namespaces: bool,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// A path of the tree. A slash at the end, which shells like to add, is none of it.
fn path(text: &str) -> Result<TreePath, ValueError> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() && text.starts_with('/') { Ok(TreePath::root()) } else { trimmed.parse() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_people_write_them() {
        for (text, expected) in
            [("/", Some("/")), ("/a", Some("/a")), ("/a/", Some("/a")), ("a", None), ("", None), ("/a//b", None)]
        {
            assert_eq!(path(text).ok().as_ref().map(TreePath::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn each_command_of_its_page_is_one() {
        let page = include_str!("../../docs/operations/kubectl-forebay.md");
        let lines = page.lines().filter_map(|line| line.strip_prefix("kubectl forebay "));
        let commands: Vec<&str> = lines.map(|line| line.split('#').next().unwrap_or_default().trim()).collect();
        assert!(commands.len() > 10, "{commands:?}");
        for command in commands {
            let words = std::iter::once("kubectl-forebay").chain(command.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{command}");
        }
    }
}
