//! What only the cluster knows to be wrong with a CacheRuntime: pure.

use forebay_crds::conditions::reason;
use forebay_crds::values::HostPath;
use kube::ResourceExt as _;

use super::observe::Observed;

/// Longest name: it is a label's value on the agents' pods.
const LONGEST_NAME: usize = 63;

/// Something wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Everything that is wrong. No agent runs while there is anything.
pub(super) fn validate(observed: &Observed) -> Vec<Finding> {
    let spec = &observed.runtime.spec;
    let invalid = |message: String| Finding { reason: reason::INVALID, message };
    let mut findings: Vec<Finding> =
        forebay_crds::validate_runtime(spec).into_iter().map(|error| invalid(error.to_string())).collect();
    if observed.name.len() > LONGEST_NAME {
        let message = format!(
            "the name has {} characters, and labels of its agents hold {LONGEST_NAME}: make it under a shorter name",
            observed.name.len()
        );
        findings.push(invalid(message));
    }
    for tier in &spec.tiers {
        let Some(path) = &tier.path else { continue };
        for other in observed.others.iter().filter(|other| is_older(other, observed)) {
            let taken = other.spec.tiers.iter().find(|theirs| theirs.path.as_ref().is_some_and(|theirs| overlap(theirs, path)));
            if let Some(theirs) = taken {
                let message = format!(
                    "tier {} lies at {}, which is of tier {} of CacheRuntime {}: each would count and evict the other's files; give it \
                     a directory of its own",
                    tier.name.as_str(),
                    path.as_str(),
                    theirs.name.as_str(),
                    other.name_any()
                );
                findings.push(Finding { reason: reason::TIER_PATH_TAKEN, message });
            }
        }
    }
    findings
}

/// Who was there first keeps the directory.
fn is_older(other: &forebay_crds::CacheRuntime, observed: &Observed) -> bool {
    let time = |runtime: &forebay_crds::CacheRuntime| runtime.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (time(other), other.name_any()) < (time(&observed.runtime), observed.name.clone())
}

fn overlap(a: &HostPath, b: &HostPath) -> bool {
    a.is_within(b) || b.is_within(a)
}
