//! `forebay-operator`.

use clap::Parser as _;

fn main() {
    let _ = forebay_operator::cli::Cli::parse();
}
