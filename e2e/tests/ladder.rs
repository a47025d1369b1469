//! Each step of the ladder shows right bytes: through the agent (`--no-passthrough`), passthrough, composed (`--composed`).
//!
//! A row is a function below `ladder/`, a cell a test here. What other rooms show of a cell, and is not shown again:
//!
//! | | through the agent | passthrough | composed |
//! |---|---|---|---|
//! | whole tree | `native::switched_off_...`: the status says why | `bytes::cold_and_then_warm_...`: two servers, a larger tree | `composed::names_cost_no_request_...` |
//! | mapped while data comes in | `posix::seeks_ends_and_memory_maps` | `native::a_complete_file_is_read_while_the_agent_stands_still` | |
//! | eviction pressure | | `native::readers_of_every_kind_...`: direct and mapped too | |
//! | generation change | | `native::an_open_file_keeps_its_version_...`: `MaxAge` | `composed::a_refresh_shows_the_new_tree_...`: all pinned |
//! | agent death | `signals::the_next_start_cleans_up_a_dead_mount` | `native::an_agent_that_follows_a_killed_one_...`: with less room | `composed::pinned_files_are_read_with_no_agent_alive`: a larger tree |

mod death;
mod mapped;
mod pressure;
mod turn;
mod whole;

use forebay_e2e::{Agent, AgentFiles, Manifest};

use crate::metrics::{get, sample};
use crate::support::Site;

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ECONNABORTED: i32 = 103;
const ENOTCONN: i32 = 107;
const ESTALE: i32 = 116;

/// A way in which a Dataset is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Plain,
    Passthrough,
    Composed,
}

impl Step {
    /// A Dataset with one disk tier; `pinned` is what of it is pinned where that makes a difference.
    fn manifest(self, site: &Site, name: &str, capacity: &str, pinned: &str) -> Manifest {
        let manifest = site.manifest(name, capacity);
        if self == Self::Composed { manifest.with(&format!("pin: {{paths: [{pinned}]}}")) } else { manifest }
    }

    /// Starts an agent on this step, and sees to it that none below or above was taken instead.
    fn start(self, site: &Site, manifest: &Manifest) -> Agent {
        assert!(self == Self::Plain || rustix::process::geteuid().is_root(), "{self:?} needs root");
        let arguments = match self {
            Self::Plain => vec!["--no-passthrough".into()],
            Self::Passthrough => Vec::new(),
            Self::Composed => vec!["--composed".into()],
        };
        let agent = Agent::start(&AgentFiles { arguments, ..site.files() }, manifest).unwrap();
        let status = agent.status().unwrap();
        let holds = |kind: &str| {
            let mut conditions = status["conditions"].as_array().unwrap().iter();
            conditions.find(|condition| condition["type"] == kind).map(|found| found["status"] == "True")
        };
        assert_eq!(holds("Composed"), (self == Self::Composed).then_some(true), "{status:#}");
        assert_eq!(holds("NativeReads"), Some(self != Self::Plain), "{status:#}");
        let (_, page) = get(&agent, "/metrics");
        assert_eq!(sample(&page, "forebay_dataset_native{"), if self == Self::Plain { 0.0 } else { 1.0 });
        agent
    }
}

#[test]
fn plain_whole_tree_cold_and_warm() {
    whole::cold_and_warm(Step::Plain);
}

#[test]
fn passthrough_whole_tree_cold_and_warm() {
    whole::cold_and_warm(Step::Passthrough);
}

#[test]
fn composed_whole_tree_cold_and_warm() {
    whole::cold_and_warm(Step::Composed);
}

#[test]
fn plain_mapped_while_data_comes_in() {
    mapped::while_data_comes_in(Step::Plain);
}

#[test]
fn passthrough_mapped_while_data_comes_in() {
    mapped::while_data_comes_in(Step::Passthrough);
}

#[test]
fn composed_mapped_while_data_comes_in() {
    mapped::while_data_comes_in(Step::Composed);
}

#[test]
fn plain_readers_across_eviction_pressure() {
    pressure::readers_across_it(Step::Plain);
}

#[test]
fn passthrough_readers_across_eviction_pressure() {
    pressure::readers_across_it(Step::Passthrough);
}

#[test]
fn composed_readers_across_eviction_pressure() {
    pressure::readers_across_it(Step::Composed);
}

#[test]
fn plain_readers_across_a_generation_change() {
    turn::readers_across_it(Step::Plain);
}

#[test]
fn passthrough_readers_across_a_generation_change() {
    turn::readers_across_it(Step::Passthrough);
}

#[test]
fn composed_readers_across_a_generation_change() {
    turn::readers_across_it(Step::Composed);
}

#[test]
fn plain_readers_across_the_agents_death() {
    death::readers_across_it(Step::Plain);
}

#[test]
fn passthrough_readers_across_the_agents_death() {
    death::readers_across_it(Step::Passthrough);
}

#[test]
fn composed_readers_across_the_agents_death() {
    death::readers_across_it(Step::Composed);
}
