#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::time::UNIX_EPOCH;

use super::super::standing::tests::said;
use super::*;

fn agent(node: &str) -> AgentIdentity {
    AgentIdentity { runtime: "r".parse().unwrap(), node: node.parse().unwrap() }
}

fn hello() -> Hello {
    Hello { version: "0".into(), pod_name: "p".into() }
}

fn progress(uid: &str) -> DatasetProgress {
    DatasetProgress { uid: uid.into(), ..said(Default::default()) }
}

fn counts(registry: &Registry, now: Instant) -> Vec<(usize, u32)> {
    registry.live("r", now).iter().map(|live| (live.datasets, live.mounts)).collect()
}

#[test]
fn an_agent_that_is_silent_does_not_count() {
    let registry = Registry::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let session = registry.connect(&agent("n1"), hello(), at(0));
    assert!(registry.progress(&agent("n1"), session, progress("u"), at(1)));
    assert_eq!(registry.reports("r", "u", at(20)).len(), 1);
    assert_eq!(registry.reports("other", "u", at(20)).len(), 0);
    assert_eq!(registry.reports("r", "u", at(21)).len(), 0, "silent for twenty seconds");
    assert!(registry.live("r", at(21)).is_empty());
    let known = HashSet::from(["u".to_owned()]);
    registry.disconnect(&agent("n1"), session);
    assert_eq!(registry.sweep(&known, at(21)), BTreeSet::from(["r".to_owned()]));
    assert_eq!(registry.sweep(&known, at(22)), BTreeSet::new(), "it is told once");
    registry.connect(&agent("n1"), hello(), at(23));
    assert_eq!(counts(&registry, at(23)), [(0, 0)], "nothing of it was kept");
}

#[test]
fn an_agent_that_missed_its_sign_of_life_is_late_before_it_is_silent() {
    let registry = Registry::default();
    let start = Instant::now();
    registry.connect(&agent("n1"), hello(), start);
    let late = |seconds| registry.live("r", start + Duration::from_secs(seconds)).first().map(|live| live.late);
    assert_eq!((late(10), late(11), late(19), late(20)), (Some(false), Some(true), Some(true), None));
}

#[test]
fn since_when_a_node_has_data_follows_from_an_age_and_does_not_move_from_session_to_session() {
    let start = Instant::now();
    let registry = Registry::at(start, UNIX_EPOCH + Duration::from_secs(1_000_000));
    let says = |session, second, age: Option<u64>| {
        let now = start + Duration::from_secs(second);
        let health = Health { age: age.map(Duration::from_secs), ..Health::default() };
        assert!(registry.health(&agent("n1"), session, health, now));
        registry.live("r", now)[0].born
    };
    let first = registry.connect(&agent("n1"), hello(), start);
    assert_eq!(registry.live("r", start)[0].born, None, "it has not said so yet");
    assert_eq!(says(first, 0, Some(1000)), Some(999_000));
    assert_eq!(says(first, 10, Some(1009)), Some(999_000), "seconds are cut off");
    let second = registry.connect(&agent("n1"), hello(), start + Duration::from_secs(15));
    assert_eq!(registry.live("r", start + Duration::from_secs(15))[0].born, Some(999_000));
    assert_eq!(says(second, 15, Some(900)), Some(999_000));
    assert_eq!(says(second, 16, Some(1)), Some(1_000_015), "its disk is another");
    assert_eq!(says(second, 17, None), None, "an agent of another version");
}

#[test]
fn a_new_session_displaces_the_old_one_and_lives_on_its_reports_for_a_while() {
    let registry = Registry::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let old = registry.connect(&agent("n1"), hello(), at(0));
    registry.progress(&agent("n1"), old, progress("u"), at(1));
    registry.progress(&agent("n1"), old, progress("v"), at(1));
    let new = registry.connect(&agent("n1"), hello(), at(5));
    assert!(!registry.health(&agent("n1"), old, Health::default(), at(6)), "displaced");
    registry.disconnect(&agent("n1"), old);
    assert!(registry.health(&agent("n1"), new, Health::default(), at(14)));
    assert_eq!(registry.reports("r", "u", at(14)).len(), 1);
    assert_eq!(registry.reports("r", "u", at(15)).len(), 0, "it did not say so itself");
    registry.progress(&agent("n1"), new, progress("u"), at(16));
    assert_eq!(registry.reports("r", "u", at(16)).len(), 1);
    let known = HashSet::from(["u".to_owned(), "v".to_owned()]);
    assert_eq!(counts(&registry, at(16)), [(2, 2)]);
    assert_eq!(registry.sweep(&known, at(16)), BTreeSet::from(["r".to_owned()]), "v was not said again");
    assert_eq!(counts(&registry, at(16)), [(1, 1)]);
    assert_eq!(registry.sweep(&known, at(17)), BTreeSet::new());
}

#[test]
fn one_agent_is_asked_for_what_it_has_and_says_nothing_before_it_serves() {
    let registry = Registry::default();
    let now = Instant::now();
    let session = registry.connect(&agent("n1"), hello(), now);
    let mut told = progress("u");
    told.report.status.cache.bytes = 7;
    registry.progress(&agent("n1"), session, told, now);
    assert_eq!(registry.standings("r", "n1", &["u"], now), None, "no word of its tiers yet");
    registry.health(&agent("n1"), session, Health::default(), now);
    let standings = registry.standings("r", "n1", &["u", "v"], now).unwrap();
    assert_eq!(standings.keys().collect::<Vec<_>>(), ["u"]);
    assert_eq!(registry.standings("r", "n2", &["u"], now), None);
    assert_eq!(registry.standings("r", "n1", &["u"], now + SILENCE), None);
    assert_eq!(registry.cached("r", "u", now), [("n1".to_owned(), 7)]);
    assert_eq!((registry.cached("r", "v", now), registry.cached("other", "u", now)), (vec![], vec![]));
    assert_eq!(registry.cached("r", "u", now + SILENCE), vec![]);
}

#[test]
fn what_was_released_is_not_held() {
    let registry = Registry::default();
    let now = Instant::now();
    let session = registry.connect(&agent("n1"), hello(), now);
    registry.progress(&agent("n1"), session, progress("u"), now);
    registry.progress(&agent("n1"), session, progress("u"), now);
    assert_eq!(registry.holding("u", now), BTreeSet::from(["n1".to_owned()]));
    assert_eq!(counts(&registry, now), [(1, 1)], "counted once, however often it is said");
    registry.released(&agent("n1"), session, "u", now);
    assert!(registry.holding("u", now).is_empty());
    assert!(registry.reports("r", "u", now).is_empty());
    assert_eq!(counts(&registry, now), [(0, 0)]);
}

#[test]
fn a_dataset_that_is_gone_is_forgotten() {
    let registry = Registry::default();
    let now = Instant::now();
    let session = registry.connect(&agent("n1"), hello(), now);
    registry.progress(&agent("n1"), session, progress("u"), now);
    assert_eq!(registry.sweep(&HashSet::new(), now), BTreeSet::from(["r".to_owned()]));
    assert_eq!(counts(&registry, now), [(0, 0)]);
}

#[test]
fn no_agent_may_say_something_of_more_datasets_than_there_may_be() {
    let registry = Registry::default();
    let now = Instant::now();
    let session = registry.connect(&agent("n1"), hello(), now);
    for dataset in 0..=MOST {
        registry.progress(&agent("n1"), session, progress(&dataset.to_string()), now);
    }
    assert_eq!(counts(&registry, now), [(MOST, u32::try_from(MOST).unwrap())]);
    assert!(registry.holding(&MOST.to_string(), now).is_empty());
    registry.progress(&agent("n1"), session, progress("0"), now);
    assert_eq!(registry.holding("0", now).len(), 1, "what it has it may go on telling of");
}

#[test]
fn a_node_has_its_share_of_all_datasets_when_it_says_so_of_each() {
    let registry = Registry::default();
    let now = Instant::now();
    let session = registry.connect(&agent("n1"), hello(), now);
    let say = |uid: &str, status: &str, reason: &str| {
        let mut progress = progress(uid);
        progress.report.status.cache.bytes = u64::from(uid == "v");
        let one = serde_json::json!({
            "type": "Prefetched", "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"
        });
        progress.report.status.conditions = vec![serde_json::from_value(one).unwrap()];
        registry.progress(&agent("n1"), session, progress, now);
    };
    let uids = ["u".to_owned(), "v".to_owned(), "never".to_owned()];
    let is_complete = |after| registry.share_complete("r", &uids, now + Duration::from_secs(after)).contains("n1");
    say("u", "False", "Listing");
    assert!(is_complete(0), "there is nothing to hand over");
    let other = registry.connect(&agent("n2"), hello(), now);
    let mut has = progress("v");
    has.report.status.cache.bytes = 1;
    registry.progress(&agent("n2"), other, has, now);
    assert!(!is_complete(0), "it has said nothing of v, which another has");
    for (status, reason, complete) in [
        ("False", "Listing", false),
        ("False", "Prefetching", false),
        ("False", "FilesFailed", false),
        ("False", "OutOfSpace", true),
        ("True", "AsDesired", true),
        ("False", "Moving", false),
    ] {
        say("v", status, reason);
        assert_eq!(is_complete(0), complete, "{reason}");
    }
    say("v", "True", "AsDesired");
    assert!(is_complete(19) && !is_complete(20), "silent for twenty seconds");
    assert!(registry.share_complete("other", &uids, now).is_empty());
}
