//! From facts to phase and conditions: pure.

use forebay_crds::{Phase, conditions};

use crate::dataset::{Filling, ListingFailure};

/// What is so now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// A generation is served.
    pub(crate) listed: bool,
    /// A listing is under way, and so many objects were seen.
    pub(crate) listing: Option<u64>,
    pub(crate) listing_failure: Option<ListingFailure>,
    pub(crate) filling: Filling,
    /// Files that prefetch could not bring in: how many, and one of them.
    pub(crate) not_fetched: Option<(u64, String)>,
    /// Reads that failed lately: how many, and one of them.
    pub(crate) failed_reads: Option<(u64, String)>,
}

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: &'static str,
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

pub(crate) fn phase(facts: &Facts) -> Phase {
    if !facts.listed {
        return match (&facts.listing_failure, facts.listing) {
            (Some(_), _) => Phase::Failed,
            (None, Some(_)) => Phase::Listing,
            (None, None) => Phase::Pending,
        };
    }
    if facts.listing_failure.is_some() || facts.failed_reads.is_some() || facts.not_fetched.is_some() {
        return Phase::Degraded;
    }
    match facts.filling {
        Filling::Running | Filling::Moving => Phase::Prefetching,
        Filling::Retrying | Filling::DoesNotFit(_) => Phase::Degraded,
        Filling::Idle | Filling::Complete => Phase::Ready,
    }
}

pub(crate) fn verdicts(facts: &Facts) -> Vec<Verdict> {
    vec![accepted(), ready(facts), prefetched(facts), stores_reachable(facts)]
}

fn good(kind: &'static str, message: &str) -> Verdict {
    Verdict { kind, holds: true, reason: conditions::reason::AS_DESIRED, message: message.to_owned() }
}

fn bad(kind: &'static str, reason: &'static str, message: String) -> Verdict {
    Verdict { kind, holds: false, reason, message }
}

fn accepted() -> Verdict {
    good(conditions::dataset::ACCEPTED, "the manifest is valid and all that it names exists")
}

fn ready(facts: &Facts) -> Verdict {
    let kind = conditions::dataset::READY;
    if facts.listed {
        return good(kind, "the tree is listed and served");
    }
    if let Some(failure) = &facts.listing_failure {
        return bad(kind, failure.reason, format!("the stores could not be listed, it is tried again: {}", failure.message));
    }
    let seen = facts.listing.unwrap_or(0);
    bad(kind, conditions::reason::LISTING, format!("the stores are being listed, {seen} objects so far"))
}

fn prefetched(facts: &Facts) -> Verdict {
    let kind = conditions::dataset::PREFETCHED;
    if let Filling::DoesNotFit(why) = &facts.filling {
        let remedy = "raise the tiers' capacity or the quota, or prefetch and pin less";
        return bad(kind, conditions::reason::OUT_OF_SPACE, format!("{why}; {remedy}"));
    }
    if let Some((count, example)) = &facts.not_fetched {
        return bad(kind, conditions::reason::FILES_FAILED, format!("{} could not be fetched, such as {example}", files(*count)));
    }
    match (facts.listed, &facts.filling) {
        (false, _) => bad(kind, conditions::reason::LISTING, "nothing is listed yet".into()),
        (true, Filling::Idle) => good(kind, "nothing was asked for ahead"),
        (true, Filling::Complete) => good(kind, "all that was asked for ahead is cached"),
        (true, Filling::Moving) => {
            bad(kind, conditions::reason::MOVING, "nodes have come or gone, what each keeps is brought in by the others".into())
        }
        (true, _) => bad(kind, conditions::reason::PREFETCHING, "data is being fetched ahead".into()),
    }
}

fn stores_reachable(facts: &Facts) -> Verdict {
    let kind = conditions::dataset::STORES_REACHABLE;
    if let Some(failure) = &facts.listing_failure {
        return bad(kind, failure.reason, failure.message.clone());
    }
    if let Some((count, example)) = &facts.failed_reads {
        let message = format!("{} could not be read lately, such as {example}", files(*count));
        return bad(kind, conditions::reason::STORE_UNREACHABLE, message);
    }
    if let Some((count, example)) = &facts.not_fetched {
        let message = format!("{} could not be fetched ahead, such as {example}", files(*count));
        return bad(kind, conditions::reason::STORE_UNREACHABLE, message);
    }
    good(kind, "every store answered the last time it was asked")
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Option<ListingFailure> {
        Some(ListingFailure {
            reason: conditions::reason::ACCESS_DENIED,
            mount: Some("/".into()),
            message: "mount /: denied".into(),
        })
    }

    fn listed() -> Facts {
        Facts { listed: true, filling: Filling::Complete, ..Facts::default() }
    }

    #[test]
    fn each_state_has_its_phase() {
        let example = Some((3, "/a: broken".to_owned()));
        let table = [
            (Facts::default(), Phase::Pending),
            (Facts { listing: Some(7), ..Facts::default() }, Phase::Listing),
            (Facts { listing: Some(7), listing_failure: failure(), ..Facts::default() }, Phase::Failed),
            (listed(), Phase::Ready),
            (Facts { filling: Filling::Idle, ..listed() }, Phase::Ready),
            (Facts { filling: Filling::Running, ..listed() }, Phase::Prefetching),
            (Facts { filling: Filling::Retrying, not_fetched: example.clone(), ..listed() }, Phase::Degraded),
            (Facts { filling: Filling::DoesNotFit("full".into()), ..listed() }, Phase::Degraded),
            (Facts { failed_reads: example, ..listed() }, Phase::Degraded),
            (Facts { listing_failure: failure(), ..listed() }, Phase::Degraded),
        ];
        for (facts, expected) in table {
            assert_eq!(phase(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_ready_dataset_has_only_good_conditions_and_a_failed_one_says_why() {
        assert!(verdicts(&listed()).iter().all(|verdict| verdict.holds));
        let failed = verdicts(&Facts { listing_failure: failure(), ..Facts::default() });
        let ready = failed.iter().find(|verdict| verdict.kind == conditions::dataset::READY);
        assert!(ready.is_some_and(|ready| !ready.holds
            && ready.reason == conditions::reason::ACCESS_DENIED
            && ready.message.contains("mount /: denied")));
    }
}
