//! Which way files are read, and why not a faster one, in the words of a status: pure.

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};

use crate::cli;

/// Why an agent without a cluster lets the kernel read nothing by itself.
pub(crate) const NO_PASSTHROUGH: &str = "it is switched off: start the agent without --no-passthrough";

/// Faster ways that are not to be gone on this node, whatever it could do: each with the words that say so, and how to have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Off {
    /// The kernel reads complete files by itself.
    pub(crate) native: Option<&'static str>,
    /// Composed mounts.
    pub(crate) composed: Option<&'static str>,
}

impl Off {
    /// As the chart says, by the operator.
    pub(crate) fn of(options: &cli::Cluster) -> Self {
        let native = "it is switched off: `helm upgrade` with agent.passthrough=true switches it on";
        let composed = "composed mounts are switched off: `helm upgrade` with agent.composed=true switches them on";
        Self { native: options.no_passthrough.then_some(native), composed: options.no_composed.then_some(composed) }
    }
}

/// The condition of a mounted Dataset that tells whether the kernel reads complete files by itself. `not_native`: why it does not;
/// `not_composed`: why it asks the agent at each open all the same, `None` where it does not.
pub(crate) fn native(not_native: Option<&str>, not_composed: Option<&str>, since: Timestamp) -> Condition {
    match (not_native, not_composed) {
        (Some(why), _) => condition(kind::NATIVE_READS, Err(why.to_owned()), since),
        (None, Some(why)) => {
            let message = format!("the kernel reads complete files by itself, and asks the agent at each open: {why}");
            condition(kind::NATIVE_READS, Ok(message), since)
        }
        (None, None) => condition(kind::NATIVE_READS, Ok("the kernel reads complete files by itself".to_owned()), since),
    }
}

/// The condition of a Dataset for which a composed mount was asked: whether it is one, or why not.
pub(crate) fn composed(why_not: Option<String>, since: Timestamp) -> Condition {
    let words = "names, attributes and complete pinned files are read without the agent".to_owned();
    condition(kind::COMPOSED, why_not.map_or(Ok(words), Err), since)
}

fn condition(kind: &str, holds: Result<String, String>, since: Timestamp) -> Condition {
    let (status, reason, message) = match holds {
        Ok(message) => ("True", reason::AS_DESIRED, message),
        Err(message) => ("False", reason::SERVED_BY_FUSE, message),
    };
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(since),
        observed_generation: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn what_the_operator_switches_off_is_off_and_says_which_value_of_the_chart_switches_it_on() {
        let off = |flags: &str| {
            let line = format!("forebay-agent cluster --runtime r --state /s --operator https://o --ca /ca --token /t {flags}");
            let parsed = Cli::try_parse_from(line.split_whitespace()).unwrap();
            let Command::Cluster(options) = parsed.command else { panic!("cluster") };
            Off::of(&options)
        };
        assert_eq!(off(""), Off::default());
        let both = off("--no-passthrough --no-composed");
        assert!(both.native.unwrap().contains("agent.passthrough=true"), "{both:?}");
        assert!(both.composed.unwrap().contains("agent.composed=true"), "{both:?}");
        assert_eq!(off("--no-passthrough"), Off { composed: None, ..both });
        assert_eq!(off("--no-composed"), Off { native: None, ..both });
    }

    #[test]
    fn the_way_is_told_and_why_there_is_no_faster_one() {
        let said = |condition: Condition| (condition.type_, condition.status, condition.reason, condition.message);
        let told = |kind: &str, status: &str, reason: &str, message: &str| {
            (kind.to_owned(), status.to_owned(), reason.to_owned(), message.to_owned())
        };
        let now = Timestamp::UNIX_EPOCH;
        for (not_native, not_composed, status, reason, message) in [
            (None, None, "True", "AsDesired", "the kernel reads complete files by itself"),
            (
                None,
                Some("nobody asked"),
                "True",
                "AsDesired",
                "the kernel reads complete files by itself, and asks the agent at each open: nobody asked",
            ),
            (Some("it is switched off"), None, "False", "ServedByFuse", "it is switched off"),
            (Some("it is switched off"), Some("nobody asked"), "False", "ServedByFuse", "it is switched off"),
        ] {
            assert_eq!(said(native(not_native, not_composed, now)), told("NativeReads", status, reason, message));
        }
        assert_eq!(said(composed(Some("no EROFS".into()), now)), told("Composed", "False", "ServedByFuse", "no EROFS"));
        assert_eq!(said(composed(None, now)).1, "True");
    }
}
