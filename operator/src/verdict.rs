//! Conditions: what is to be said, and what stays as it was said.

use forebay_crds::conditions::reason;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};

/// Longest message, in characters: a condition is for reading.
const LONGEST: usize = 2000;

/// A condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: &'static str,
    pub(crate) holds: Option<bool>,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn good(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(true), reason: reason::AS_DESIRED.to_owned(), message: message.into() }
    }

    pub(crate) fn bad(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, holds: Some(false), reason: reason.to_owned(), message: message.into() }
    }

    pub(crate) fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { kind, holds: None, reason: reason.to_owned(), message: message.into() }
    }

    fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The conditions that `verdicts` make of those `before`: the time of a transition stays while the status does.
pub(crate) fn conditions(
    before: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let status = verdict.status();
            let since = before.iter().find(|old| old.type_ == verdict.kind && old.status == status);
            Condition {
                // Seconds are what Kubernetes keeps: more would differ from what is read back, and be written again.
                last_transition_time: since.map_or_else(|| Time(whole_second(now)), |old| old.last_transition_time.clone()),
                message: shortened(verdict.message),
                observed_generation: generation,
                reason: verdict.reason,
                status: status.to_owned(),
                type_: verdict.kind.to_owned(),
            }
        })
        .collect()
}

/// Whether a condition has turned: its message alone is no turn.
pub(crate) fn turned(before: &[Condition], after: &[Condition]) -> bool {
    let same = |old: &Condition, new: &Condition| {
        old.type_ == new.type_
            && old.status == new.status
            && old.reason == new.reason
            && old.observed_generation == new.observed_generation
    };
    before.len() != after.len() || !before.iter().zip(after).all(|(old, new)| same(old, new))
}

/// `time` without the fraction of its second.
pub(crate) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The condition of a type.
pub(crate) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(LONGEST) {
        None => message,
        Some((end, _)) => format!("{}...", &message[..end]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_transition_keeps_its_time_while_the_status_stays() {
        let first = conditions(&[], vec![Verdict::bad("Ready", "Listing", "1 object")], Some(1), at(10));
        let later = conditions(&first, vec![Verdict::bad("Ready", "Listing", "2 objects")], Some(2), at(20));
        assert_eq!(later[0].last_transition_time.0, at(10));
        assert_eq!((later[0].message.as_str(), later[0].observed_generation), ("2 objects", Some(2)));
        let good = conditions(&later, vec![Verdict::good("Ready", "served")], Some(2), at(30));
        assert_eq!((good[0].last_transition_time.0, good[0].status.as_str()), (at(30), "True"));
        assert!(turned(&[], &first) && turned(&later, &good) && turned(&first, &later), "also for another generation");
        let more = conditions(&later, vec![Verdict::bad("Ready", "Listing", "3 objects")], Some(2), at(25));
        assert!(!turned(&later, &more), "numbers go on changing");
        let unknown = conditions(&good, vec![Verdict::unknown("Ready", "x", "")], None, at(40));
        assert_eq!((unknown[0].last_transition_time.0, unknown[0].status.as_str()), (at(40), "Unknown"));
    }

    #[test]
    fn a_message_has_an_end() {
        let long = conditions(&[], vec![Verdict::good("Ready", "ü".repeat(5000))], None, at(1));
        assert_eq!(long[0].message.chars().count(), LONGEST + 3);
    }
}
