//! Events: what a person who runs `kubectl describe` is told of. One for each turn of a condition, as far as the budget goes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_crds::conditions::{dataset, reason, runtime};
use forebay_crds::k8s::Condition;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Resource, ResourceExt as _};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::pace::Budget;
use crate::ssa;
use crate::verdict::find;

/// Longest note, in bytes: Kubernetes takes 1,024.
const LONGEST: usize = 1000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) action: &'static str,
    pub(crate) text: String,
}

/// Reasons that say that something is under way, not that something is wrong.
const ON_ITS_WAY: [&str; 6] =
    [reason::LISTING, reason::PREFETCHING, reason::STARTING, reason::CLAIM_PENDING, reason::RELEASING, reason::IN_USE];

/// Conditions that tell how far something is; of the others only what is wrong, and that it is so no more, is news.
const PROGRESS: [&str; 2] = [dataset::READY, dataset::DELETED];

/// The notes that tell how the conditions became what they are.
fn notes(before: &[Condition], after: &[Condition]) -> Vec<Note> {
    let mut notes = Vec::new();
    for condition in after {
        // It tells of a way, none of which is a fault.
        if condition.type_ == dataset::NATIVE_READS {
            continue;
        }
        let old = find(before, &condition.type_);
        let turned = old.is_none_or(|old| old.status != condition.status || old.reason != condition.reason);
        if !turned || condition.status == "Unknown" {
            continue;
        }
        let good = condition.status == "True";
        let warning = !good && !ON_ITS_WAY.contains(&condition.reason.as_str());
        let told_of = old.is_some_and(|old| old.status == "False" && !ON_ITS_WAY.contains(&old.reason.as_str()));
        let news = warning || PROGRESS.contains(&condition.type_.as_str()) || (good && told_of);
        if !news {
            continue;
        }
        notes.push(Note {
            warning,
            reason: if good { condition.type_.clone() } else { condition.reason.clone() },
            action: action(&condition.type_),
            text: condition.message.clone(),
        });
    }
    // Several conditions may turn for one reason, and say the same.
    let mut told: Vec<Note> = Vec::new();
    for note in notes {
        if !told.iter().any(|other| other.reason == note.reason) {
            told.push(note);
        }
    }
    told
}

fn action(kind: &str) -> &'static str {
    match kind {
        dataset::ACCEPTED => "Accept",
        dataset::READY => "Serve",
        dataset::PREFETCHED => "Prefetch",
        dataset::STORES_REACHABLE => "ReachStores",
        dataset::CLAIM_BOUND => "BindClaim",
        dataset::COMPOSED => "Compose",
        dataset::DELETED => "Delete",
        runtime::TIERS_FIT => "FitTiers",
        _ => "Reconcile",
    }
}

/// Events of conditions that are published at once, and then one each `EVERY`: a lost node turns a condition of each Dataset, which is one thing to be told
/// and not a thousand.
const AT_ONCE: u32 = 60;
const EVERY: Duration = Duration::from_secs(1);

pub(crate) const fn budget() -> Budget {
    Budget::new(EVERY, AT_ONCE)
}

/// Publishes events. That one of a condition is left out hurts nobody: the condition stands.
pub(crate) struct Events {
    recorder: Recorder,
    budget: Mutex<Budget>,
    metrics: Arc<Metrics>,
}

impl Events {
    pub(crate) fn new(recorder: Recorder, metrics: Arc<Metrics>) -> Self {
        Self { recorder, budget: Mutex::new(budget()), metrics }
    }

    /// Publishes how an object's conditions have become what they are, as far as the budget goes.
    pub(crate) async fn turned<K: Resource<DynamicType = ()>>(&self, object: &K, before: &[Condition], after: &[Condition]) {
        for note in notes(before, after) {
            // Each change is one assignment: what a panic left is whole.
            if self.budget.lock().unwrap_or_else(PoisonError::into_inner).take_now(Instant::now()) {
                self.publish(object, note).await;
            } else {
                self.metrics.event_left_out();
            }
        }
    }

    /// Publishes what no condition tells, and so is never left out.
    pub(crate) async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        let Note { warning, reason, action, text } = note;
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        let event = Event { type_, reason, note: Some(cut(text)), action: action.to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await
            && !ssa::is_ending_namespace(&error)
        {
            let error = ssa::words(&error);
            tracing::warn!(name = object.name_any(), reason = event.reason, error, "an event was not published");
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Verdict, conditions};
    use forebay_crds::k8s::jiff::Timestamp;

    fn made(verdict: Verdict) -> Vec<Condition> {
        conditions(&[], vec![verdict], Some(1), Timestamp::UNIX_EPOCH)
    }

    fn short(before: &[Condition], after: &[Condition]) -> Vec<(bool, String)> {
        notes(before, after).into_iter().map(|note| (note.warning, note.reason)).collect()
    }

    #[test]
    fn each_turn_is_told_once() {
        let listing = made(Verdict::bad("Ready", reason::LISTING, "1"));
        let more = made(Verdict::bad("Ready", reason::LISTING, "2"));
        let ready = made(Verdict::good("Ready", "served"));
        let missing = made(Verdict::bad("Ready", reason::NODES_MISSING, "n1"));
        let denied = made(Verdict::bad("Ready", reason::ACCESS_DENIED, "no"));
        assert_eq!(short(&[], &listing), [(false, "Listing".into())]);
        assert_eq!(short(&listing, &more), []);
        assert_eq!(short(&more, &ready), [(false, "Ready".into())]);
        assert_eq!(short(&ready, &missing), [(true, "NodesMissing".into())]);
        let pending = made(Verdict::bad("ClaimBound", reason::CLAIM_PENDING, ""));
        let foreign = made(Verdict::bad("ClaimBound", reason::CLAIM_EXISTS, ""));
        let bound = made(Verdict::good("ClaimBound", ""));
        assert_eq!(short(&[], &pending), []);
        assert_eq!(short(&pending, &bound), [], "as it should be");
        assert_eq!(short(&foreign, &bound), [(false, "ClaimBound".into())], "what was wrong is right");
        assert_eq!(short(&listing, &denied), [(true, "AccessDenied".into())]);
        assert_eq!(short(&denied, &denied), []);
    }

    #[test]
    fn what_is_good_from_the_start_is_no_news_and_one_cause_is_told_once() {
        assert_eq!(short(&[], &made(Verdict::good("Accepted", ""))), []);
        let mut two = made(Verdict::bad("Accepted", reason::SECRET_NOT_FOUND, "a"));
        two.extend(made(Verdict::bad("StoresReachable", reason::SECRET_NOT_FOUND, "a")));
        assert_eq!(short(&[], &two), [(true, "SecretNotFound".into())]);
    }

    #[test]
    fn a_note_fits_into_an_event() {
        assert!(cut("ü".repeat(900)).len() <= 1024);
        assert_eq!(cut("short".into()), "short");
    }
}
