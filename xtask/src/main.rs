//! The task runner: the entry to everything that is done with this repository.
//!
//! Run it as `cargo xtask COMMAND`. Each command installs what it lacks, says what it does before it does it, and may be
//! run again.

mod bench;
mod cluster;
mod codegen;
mod contender;
mod data;
mod demo;
mod images;
mod install;
mod interrupt;
mod parts;
mod plugin;
mod promises;
mod scale;
mod sh;
mod speed;
mod test;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, shows, tests and measures Forebay")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole on real input: store, tree, mount, checksums, speed beside rclone and s3fs
    Demo(demo::DemoArgs),
    /// Runs every test: formatting, lints, licences, generated files, unit and model tests, tests of the whole, the demo, a short benchmark
    Test(test::TestArgs),
    /// Measures this build beside the kernel's file systems, rclone mount, s3fs and what else of their kind is on the PATH, in one run
    ///
    /// Alluxio is not measured: it needs a cluster of its own.
    Bench(bench::BenchArgs),
    /// What continuous integration runs: the same as `test`
    Ci,
    /// Tests of the whole only, with real servers and the real program
    E2e {
        /// Only tests whose names contain this
        filter: Option<String>,
    },
    /// Builds the real programs that tests need (stores, Kubernetes) and prints where they are
    Parts {
        /// Only these; all when none is named
        names: Vec<String>,
    },
    /// Starts and stops a real Kubernetes of several nodes on this machine
    Cluster(cluster::ClusterArgs),
    /// Tries what Forebay promises in a cluster, on a real one
    Promises(promises::PromisesArgs),
    /// Measures one operator with many agents and Datasets, on a real API server
    Scale(scale::ScaleArgs),
    /// Builds the container images, reproducibly and without a container engine
    Images(images::ImagesArgs),
    /// Builds `kubectl-forebay`, the plugin of kubectl, as a static program
    Plugin,
    /// Makes a real file tree at a directory that does not exist yet
    Data {
        /// Where
        dir: PathBuf,
        /// About 1,500 files and 50 MB instead of 20,000 and 600 MB
        #[arg(long)]
        small: bool,
    },
    /// Writes the files that are generated from the types
    Codegen {
        /// Compare only; fails when a file is not what it should be
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ci => test::run(&test::TestArgs::default()),
        Command::E2e { filter } => test::e2e(filter.as_deref()),
        Command::Promises(args) => promises::run(&args),
        Command::Parts { names } => parts::run(&names),
        Command::Cluster(args) => cluster::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Images(args) => images::run(&args),
        Command::Plugin => plugin::run(),
        Command::Data { dir, small } => data::run(&dir, small),
        Command::Codegen { check } => codegen::run(check),
    };
    interrupt::finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sh::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
