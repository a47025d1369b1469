//! Which way files are read, and why not a faster one, in the words of a status: pure.

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};

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
mod tests {
    use super::*;

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
