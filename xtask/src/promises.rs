use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::sh::{self, say};
use crate::{cluster, images, install, parts, workspace};

/// Programs of the machine that promises are tried with, beside those of a cluster: in pods and in nodes too.
pub(crate) const PROGRAMS: &[&str] = &[
    "rclone",
    "/usr/bin/python3",
    "pkill",
    "/usr/lib/python3/dist-packages/torch/__init__.py",
    "/usr/lib/python3/dist-packages/torchvision/__init__.py",
    "/usr/share/icons/oxygen/index.theme",
];

/// Parts that promises are tried with, beside those of a cluster.
pub(crate) const PARTS: &[&str] = &["csi-provisioner", "versitygw", "storage-suite", "agnhost"];

/// Parts of promises that are tried only when a filter has a word: a real autoscaler of nodes, and nodes that are pretended; what Kubernetes'
/// autoscaler of pods learns about pods from.
const ON_REQUEST: [(&str, &[&str]); 2] = [("karpenter", &["karpenter", "kwok"]), ("hpa", &["prometheus", "prometheus-adapter"])];

/// What `cargo xtask promises` may be told.
#[derive(Args, Debug, Default)]
pub(crate) struct PromisesArgs {
    /// Only promises whose names contain one of these
    filters: Vec<String>,
    /// The directory of a cluster that is up, to try them on it and leave it; the images are built and imported all the same
    #[arg(long)]
    cluster: Option<std::path::PathBuf>,
    /// Do not build the images again
    #[arg(long)]
    no_images: bool,
}

/// `cargo xtask promises`: builds images and a cluster, and tries on it what Forebay promises.
pub(crate) fn run(args: &PromisesArgs) -> Result<()> {
    install::debian(cluster::PROGRAMS)?;
    install::debian(PROGRAMS)?;
    parts::ensure(parts::CLUSTER)?;
    let bin = parts::ensure(PARTS)?;
    for (word, needed) in ON_REQUEST {
        if args.filters.iter().any(|filter| filter.contains(word)) {
            parts::ensure(needed)?;
        }
    }
    let out = workspace::target()?.join("images");
    workspace::build_program("forebay-cli", "kubectl-forebay", false)?;
    if !args.no_images {
        let begun = Instant::now();
        images::for_tests(&out, true)?;
        say(&format!("{:>6.1} s  the images are built", begun.elapsed().as_secs_f64()));
    }
    try_on(&out, &bin, args.cluster.as_deref(), &args.filters, None)
}

/// In the gate the agent is killed and upgraded so many times; `cargo xtask promises faults` does it 50 and 10 times.
pub(crate) const ROUNDS_IN_GATE: usize = 5;

/// Tries all promises on a cluster of their own, with the images that are there.
pub(crate) fn all(images: &Path) -> Result<()> {
    try_on(images, &parts::ensure(&[])?, None, &[], Some(ROUNDS_IN_GATE))
}

fn try_on(images: &Path, bin: &Path, cluster: Option<&Path>, filters: &[String], rounds: Option<usize>) -> Result<()> {
    let mut command = workspace::linting_cargo("test")?;
    command.args(["--test", "promises", "--"]).args(filters);
    command.env("FOREBAY_IMAGES", images).env("FOREBAY_PARTS", bin);
    if let Some(cluster) = cluster {
        command.env("FOREBAY_CLUSTER", cluster);
    }
    if let Some(rounds) = rounds {
        command.env("FOREBAY_ROUNDS", rounds.to_string());
    }
    sh::run(&mut command).map(drop)
}
