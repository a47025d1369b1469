#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use forebay_crds::k8s::Time;
use forebay_crds::{DatasetStatus, PrefetchPolicy};
use serde_json::{Value, json};

use super::*;

fn status(phase: &str, generation: i64, prefetched: Option<(&str, &str)>) -> Words {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "3 of 9 files\nmore",
            "lastTransitionTime": "2026-01-01T00:00:00Z"
        })
    };
    let mut conditions = vec![condition(kind::READY, "False", "Listing")];
    conditions.extend(prefetched.map(|(status, reason)| condition(kind::PREFETCHED, status, reason)));
    let status = json!({"phase": phase, "observedGeneration": generation, "conditions": conditions});
    let status: DatasetStatus = serde_json::from_value(status).unwrap();
    Words {
        phase: status.phase,
        observed_generation: status.observed_generation,
        conditions: status.conditions,
        refreshed: None,
        evicted: None,
    }
}

#[test]
fn a_share_is_present_when_the_agent_says_so_of_the_newest_spec() {
    let table = [
        ("not heard of", None, "ml/a: the agent has not taken it up yet"),
        ("present", Some(status("Ready", 2, Some(("True", "AsDesired")))), ""),
        ("present, though a store is away", Some(status("Degraded", 3, Some(("True", "AsDesired")))), ""),
        ("of an older spec", Some(status("Ready", 1, Some(("True", "AsDesired")))), "ml/a: Listing: 3 of 9 files"),
        ("being listed", Some(status("Listing", 2, None)), "ml/a: Listing: 3 of 9 files"),
        ("on its way", Some(status("Prefetching", 2, Some(("False", "Prefetching")))), "ml/a: Prefetching"),
        ("does not fit", Some(status("Degraded", 2, Some(("False", "OutOfSpace")))), "ml/a: OutOfSpace"),
        ("an agent that does not say", Some(status("Ready", 2, None)), "ml/a: the agent does not say how far it is"),
    ];
    for (what, status, expected) in table {
        assert_eq!(missing("ml/a", 2, status.as_ref()).unwrap_or_default(), expected, "{what}");
    }
}

#[test]
fn only_marked_datasets_that_stay_are_waited_for() {
    let dataset = |name: &str, warm: bool, more: Value| -> Arc<Dataset> {
        let mut object = json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
            "metadata": {"name": name, "namespace": "ml", "uid": format!("uid-{name}"), "generation": 4},
            "spec": {"runtime": "r", "mounts": [{"path": "/", "source": "/data"}], "warmBeforeScheduling": warm}
        });
        object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Arc::new(serde_json::from_value(object).unwrap())
    };
    let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    let on_first_use = |name: &str, used: bool, pins: &[&str]| {
        let mut dataset = dataset(name, true, json!({}));
        let object = Arc::make_mut(&mut dataset);
        object.spec.prefetch.policy = PrefetchPolicy::OnFirstUse;
        object.spec.pin.paths = pins.iter().map(|path| path.parse().unwrap()).collect();
        let first_used_at = used.then_some(Time(Timestamp::UNIX_EPOCH));
        object.status = Some(DatasetStatus { first_used_at, ..DatasetStatus::default() });
        dataset
    };
    let all = [
        dataset("a", true, json!({})),
        dataset("b", false, json!({})),
        dataset("c", true, going),
        on_first_use("idle", false, &[]),
        on_first_use("used", true, &[]),
        on_first_use("kept", false, &["/"]),
    ];
    let wanted = wanted(&all).remove("r").unwrap();
    let names: Vec<&str> = wanted.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["ml/a", "ml/used", "ml/kept"]);
    assert_eq!(wanted[0], ("uid-a".to_owned(), "ml/a".to_owned(), 4));
}

#[test]
fn the_taint_is_known_by_its_key_and_the_wait_by_the_condition() {
    let node = |spec: Value, conditions: Value| -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}})).unwrap()
    };
    let plain = node(json!({"taints": [{"key": "forebay.io/warming2", "effect": "NoSchedule"}]}), json!([]));
    assert!(!is_tainted(&plain) && condition(&plain).is_none());
    let minute_ago = Timestamp::now() - Duration::from_secs(60);
    let conditions = json!([{
        "type": "forebay.io/WarmUpComplete", "status": "False", "reason": "Warming", "message": "m",
        "lastTransitionTime": Time(minute_ago)
    }]);
    let warming = node(json!({"taints": [{"key": "forebay.io/warming", "value": "x", "effect": "NoExecute"}]}), conditions);
    assert!(is_tainted(&warming));
    let condition = condition(&warming).unwrap();
    assert!(waited(condition) >= Duration::from_secs(60));
    assert_eq!(said(condition), Said { holds: false, reason: "Warming".into(), message: "m".into() });
}
