//! How a Dataset ends: pure. Each stage waits for something that ends, or for a time.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_crds::conditions::{dataset as kind, reason};

use super::observe::{Ending, Observed};
use super::usage::User;
use crate::verdict::Verdict;

/// How long nodes may take to let go; after that the Dataset ends without them. They let go when they are back.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Pods that a message names.
const NAMED: usize = 5;

/// Where the end of a Dataset stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// Pods use it: it stays served.
    InUse(Vec<User>),
    /// Its claim and volume are deleted and its nodes told to let go; these still have to.
    Releasing { nodes: BTreeSet<String>, claim: bool, volume: bool },
    /// Nothing is left but the finalizer. The nodes did not answer in time.
    Over { unanswered: BTreeSet<String> },
}

pub(super) fn stage(ending: &Ending, observed: &Observed) -> Stage {
    let Ending { users, holding, asked } = ending;
    // Once nodes were told, there is no way back: the claim is gone.
    let told = super::is_releasing(&observed.dataset);
    if !users.is_empty() && !told {
        return Stage::InUse(users.clone());
    }
    let claim = observed.claim.as_ref().is_some_and(|claim| super::plan::is_ours(claim, &observed.uid));
    let volume = observed.volume.is_some();
    let late = *asked >= PATIENCE;
    // A claim or a volume that hangs on another finalizer hangs on without the Dataset.
    if !told || (!late && (!holding.is_empty() || claim || volume)) {
        return Stage::Releasing { nodes: holding.clone(), claim, volume };
    }
    Stage::Over { unanswered: holding.clone() }
}

/// The condition of a stage; none when it is over, since the object goes.
pub(super) fn verdict(stage: &Stage) -> Option<Verdict> {
    let (reason, message) = match stage {
        Stage::InUse(users) => {
            let named = users.iter().take(NAMED).map(User::to_string).collect::<Vec<_>>().join(", ");
            let more = users.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let message = format!("it stays served while pods use it: delete them to go on: {named}{more}");
            (reason::IN_USE, message)
        }
        Stage::Releasing { nodes, claim, volume } => {
            let mut waits: Vec<String> = nodes.iter().take(NAMED).map(|node| format!("node {node}")).collect();
            waits.extend(claim.then(|| "its claim".to_owned()));
            waits.extend(volume.then(|| "its volume".to_owned()));
            let waits = if waits.is_empty() { "nobody".to_owned() } else { waits.join(", ") };
            (reason::RELEASING, format!("its cached bytes are given back; waits for {waits}, for a minute at most"))
        }
        Stage::Over { .. } => return None,
    };
    Some(Verdict::bad(kind::DELETED, reason, message))
}

#[cfg(test)]
mod tests;
