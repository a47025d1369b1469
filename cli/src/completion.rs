//! Completion: for shells that run `kubectl-forebay` itself, and for kubectl, which asks a program `kubectl_complete-forebay` what could come
//! next.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory as _, Parser as _};
use clap_complete::Shell;
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::cli::{Cli, Target};
use crate::cluster::Cluster;
use crate::print;

/// The name under which kubectl asks.
const ASKED_AS: &str = "kubectl_complete-forebay";
/// Nobody waits longer for names.
const PATIENCE: Duration = Duration::from_secs(3);
/// Kubectl's word for "and no file names beside these".
const NO_FILES: &str = ":4\n";

/// Prints the script for a shell.
pub(crate) fn script(shell: Shell) -> anyhow::Result<ExitCode> {
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-forebay", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// The words so far, the last of them unfinished, when kubectl asks.
pub(crate) fn asked_by_kubectl() -> Option<Vec<String>> {
    let mut words = std::env::args();
    let program = words.next()?;
    let asked = std::path::Path::new(&program).file_name().is_some_and(|name| name == ASKED_AS);
    asked.then(|| words.collect())
}

/// Answers kubectl. What fails is no answer: an error would garble the line that somebody types.
pub(crate) async fn answer(words: &[String]) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    let candidates = match next(words) {
        Next::Words(candidates) => candidates,
        Next::Dataset => match tokio::time::timeout(PATIENCE, datasets(words)).await {
            Ok(Ok(names)) => names,
            Ok(Err(_)) | Err(_) => vec![],
        },
    };
    let begun = words.last().map(String::as_str).unwrap_or_default();
    for candidate in candidates.iter().filter(|candidate| candidate.starts_with(begun)) {
        text.push_str(&format!("{candidate}\n"));
    }
    text.push_str(NO_FILES);
    print::text(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// One of these, with a tab and what it is.
    Words(Vec<String>),
    Dataset,
}

fn next(words: &[String]) -> Next {
    let root = Cli::command();
    let (begun, before) = words.split_last().map(|(last, before)| (last.as_str(), before)).unwrap_or_default();
    let named = before.iter().find_map(|word| root.find_subcommand(word));
    if begun.starts_with('-') {
        return Next::Words(options(&root, named));
    }
    let Some(command) = named else {
        let described = |command: &Command| format!("{}\t{}", command.get_name(), about(command.get_about()));
        return Next::Words(root.get_subcommands().map(described).collect());
    };
    let first = command.get_positionals().next().map(|positional| positional.get_id().as_str());
    let given = before.iter().skip_while(|word| *word != command.get_name()).skip(1).any(|word| !word.starts_with('-'));
    match first {
        Some("name" | "dataset") if !given => Next::Dataset,
        _ => Next::Words(vec![]),
    }
}

fn options(root: &Command, command: Option<&Command>) -> Vec<String> {
    let all = root.get_arguments().chain(command.into_iter().flat_map(Command::get_arguments));
    all.filter_map(|option| Some(format!("--{}\t{}", option.get_long()?, about(option.get_help())))).collect()
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

async fn datasets(words: &[String]) -> anyhow::Result<Vec<String>> {
    // TLS may have been set up before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::connect(&target(words)).await?;
    let all = cluster.datasets().list(&ListParams::default()).await?;
    Ok(all.items.iter().map(|dataset| dataset.name_any()).collect())
}

/// The cluster that the words so far name.
fn target(words: &[String]) -> Target {
    let complete = words.iter().take(words.len().saturating_sub(1)).cloned().chain(["any".to_owned(), "/any".to_owned()]);
    // A command takes a name, or a name and paths; where it takes neither there is nothing to ask.
    let attempts = [2, 1, 0].map(|less| complete.clone().take(words.len().saturating_sub(1) + less).collect::<Vec<_>>());
    let program = || ["kubectl-forebay".to_owned()].into_iter();
    let parsed = attempts.into_iter().find_map(|words| Cli::try_parse_from(program().chain(words)).ok());
    parsed.map(|cli| cli.target).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn kubectl_is_told_commands_options_and_that_a_dataset_comes() {
        let names = |text: &str| match next(&words(text)) {
            Next::Words(all) => all.iter().map(|word| word.split('\t').next().unwrap_or_default().to_owned()).collect(),
            Next::Dataset => vec!["a Dataset".to_owned()],
        };
        assert!(["status", "evict", "doctor"].iter().all(|name| names("").contains(&(*name).to_owned())));
        assert!(names("evict --").contains(&"--refetch".to_owned()) && names("evict --").contains(&"--namespace".to_owned()));
        for line in ["status ", "evict i", "-n ml refresh ", "pin --remove "] {
            assert_eq!(names(line), ["a Dataset"], "{line}");
        }
        assert!(names("nodes ").is_empty() && names("pin imagenet ").is_empty());
    }

    #[test]
    fn names_are_asked_of_the_cluster_that_is_named() {
        for line in ["-n ml evict ", "evict -n ml i", "pin -n ml --context other ", "status --namespace=ml "] {
            assert_eq!(target(&words(line)).namespace.as_deref(), Some("ml"), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_sound_and_every_part_of_it_is_explained() {
        let root = Cli::command();
        root.clone().debug_assert();
        for command in root.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
