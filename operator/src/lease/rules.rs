//! When to take a Lease: pure.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Election;

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Create,
    Take,
    Renew,
    Wait,
}

/// The Lease as it was last seen to change.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Option<(Option<String>, Instant)>,
}

impl Seen {
    /// How long the Lease has been as it is.
    fn age(&mut self, version: Option<&str>, now: Instant) -> Duration {
        match &self.last {
            Some((seen, since)) if seen.as_deref() == version => now.saturating_duration_since(*since),
            _ => {
                self.last = Some((version.map(str::to_owned), now));
                Duration::ZERO
            }
        }
    }
}

pub(super) fn decide(me: &str, lease: Option<&Lease>, seen: &mut Seen, now: Instant) -> Decision {
    let Some(lease) = lease else { return Decision::Create };
    let age = seen.age(lease.metadata.resource_version.as_deref(), now);
    let Some(spec) = &lease.spec else { return Decision::Take };
    match spec.holder_identity.as_deref() {
        None | Some("") => Decision::Take,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) => {
            let duration = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).max(0).unsigned_abs().into());
            if age >= duration { Decision::Take } else { Decision::Wait }
        }
    }
}

/// The Lease in the hands of this replica.
pub(super) fn held(election: &Election, before: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
    let mine = before.filter(|spec| spec.holder_identity.as_deref() == Some(&election.identity));
    let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(election.duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: mine.and_then(|spec| spec.acquire_time.clone()).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if mine.is_some() { transitions } else { transitions.saturating_add(1) }),
        ..before.cloned().unwrap_or_default()
    }
}

/// The Lease in nobody's hands.
pub(super) fn released(spec: LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec { holder_identity: Some(String::new()), renew_time: Some(MicroTime(now)), ..spec }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, version: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.to_owned());
        let holder_identity = holder.map(str::to_owned);
        lease.spec = Some(LeaseSpec { holder_identity, lease_duration_seconds: Some(10), ..LeaseSpec::default() });
        lease
    }

    #[test]
    fn anothers_lease_is_taken_only_when_it_did_not_change_for_its_duration() {
        let mut seen = Seen::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut at = |version, seconds| decide("me", Some(&lease(Some("other"), version)), &mut seen, after(seconds));
        // However old the times in it are: the clocks are not compared.
        assert_eq!(at("1", 0), Decision::Wait);
        assert_eq!(at("1", 9), Decision::Wait);
        assert_eq!(at("2", 11), Decision::Wait, "it was renewed");
        assert_eq!(at("2", 20), Decision::Wait);
        assert_eq!(at("2", 21), Decision::Take);
    }

    #[test]
    fn what_is_free_is_taken_at_once_and_what_is_ours_renewed() {
        let now = Instant::now();
        let mut seen = Seen::default();
        assert_eq!(decide("me", None, &mut seen, now), Decision::Create);
        assert_eq!(decide("me", Some(&lease(None, "1")), &mut seen, now), Decision::Take);
        assert_eq!(decide("me", Some(&lease(Some(""), "2")), &mut seen, now), Decision::Take);
        assert_eq!(decide("me", Some(&lease(Some("me"), "3")), &mut seen, now), Decision::Renew);
    }

    #[test]
    fn a_transition_is_counted_when_the_holder_changes() {
        let me = Election { name: "x".into(), identity: "me".into(), duration: Duration::from_secs(10) };
        let first = held(&me, None, Timestamp::UNIX_EPOCH);
        assert_eq!((first.lease_transitions, first.lease_duration_seconds), (Some(1), Some(10)));
        let again = held(&me, Some(&first), Timestamp::from_second(5).unwrap());
        assert_eq!((again.lease_transitions, again.acquire_time.clone()), (Some(1), first.acquire_time));
        assert_eq!(again.renew_time, Some(MicroTime(Timestamp::from_second(5).unwrap())));
        let free = released(again, Timestamp::UNIX_EPOCH);
        assert_eq!(free.holder_identity.as_deref(), Some(""));
        let other = Election { identity: "other".into(), ..me };
        assert_eq!(held(&other, Some(&free), Timestamp::UNIX_EPOCH).lease_transitions, Some(2));
    }
}
