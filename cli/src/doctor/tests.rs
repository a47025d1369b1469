//! What is seen, and what is said about it.

#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

mod datasets;
mod pods;
mod programs;

use serde_json::{Value, json};

use super::observed::{Observed, PodSeen, Question};
use super::*;

/// A cluster where all is well: Dataset `ml/imagenet` of CacheRuntime `default`, nodes n1 and n2.
fn well() -> Observed {
    let conditions = json!([condition("Accepted", "True", "AsDesired", ""), condition("Ready", "True", "AsDesired", "")]);
    let dataset = serde_json::from_value(json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
        "metadata": {"name": "imagenet", "namespace": "ml", "uid": "u", "generation": 2},
        "spec": {"mounts": [{"path": "/", "source": "s3://bucket", "secretRef": {"name": "obs"}}]},
        "status": {"observedGeneration": 2, "phase": "Ready", "conditions": conditions}
    }));
    let runtime = serde_json::from_value(json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": "default", "generation": 1},
        "spec": {"nodeSelector": {"role": "gpu"}, "tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}]},
        "status": {"observedGeneration": 1, "conditions": conditions}
    }));
    let node = |name: &str| serde_json::from_value(json!({"metadata": {"name": name, "labels": {"role": "gpu"}}})).unwrap();
    let dataset: forebay_crds::Dataset = dataset.unwrap();
    Observed {
        question: Question::Namespace("ml".into()),
        installed: true,
        known: vec![dataset.clone()],
        datasets: vec![dataset],
        runtimes: Some(vec![runtime.unwrap()]),
        nodes: Some(vec![node("n1"), node("n2")]),
        driver: Some(true),
        programs: [
            ("forebay-operator", Some(vec![program("forebay-operator", "n1", None)])),
            ("forebay-agent", Some(vec![program("forebay-agent", "n1", None), program("forebay-agent", "n2", None)])),
            ("forebay-csi", Some(vec![program("forebay-csi", "n1", None), program("forebay-csi", "n2", None)])),
        ]
        .into(),
        sets: Some(vec![]),
        secrets: [(("ml".to_owned(), "obs".to_owned()), true)].into(),
        ..Observed::default()
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "1970-01-01T00:00:00Z"})
}

/// A pod of ours; not ready when it waits for a reason.
fn program(app: &str, node: &str, waiting: Option<&str>) -> k8s_openapi::api::core::v1::Pod {
    let state = waiting.map(|reason| json!({"waiting": {"reason": reason, "message": "back-off"}}));
    let ready = if waiting.is_none() { "True" } else { "False" };
    serde_json::from_value(json!({
        "metadata": {"name": format!("{app}-{node}"), "namespace": "forebay-system",
            "labels": {"app.kubernetes.io/name": app, "forebay.io/runtime": "default"}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": waiting.is_none(), "restartCount": 0, "state": state}]}
    }))
    .unwrap()
}

/// Takes an object apart, changes it as JSON, and puts it together.
fn changed<T: serde::Serialize + serde::de::DeserializeOwned>(object: &mut T, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::to_value(&*object).unwrap();
    change(&mut value);
    *object = serde_json::from_value(value).unwrap();
}

/// A change to a cluster where all is well, and what each finding must tell of: about, what, why, remedy.
type Case = (&'static str, fn(&mut Observed), &'static [[&'static str; 4]]);

fn check(cases: &[Case]) {
    for (name, change, expected) in cases {
        let mut observed = well();
        change(&mut observed);
        let findings = diagnose(&observed).findings;
        assert_eq!(findings.len(), expected.len(), "{name}: {findings:#?}");
        for (Finding { about, what, why, remedy }, words) in findings.iter().zip(*expected) {
            for (text, word) in [about, what, why, remedy].into_iter().zip(words) {
                assert!(text.contains(word), "{name}: {word:?} is not in {text:?}: {findings:#?}");
            }
            assert!(!remedy.is_empty(), "{name}");
        }
    }
}

#[test]
fn where_all_is_well_nothing_is_found() {
    let diagnosis = diagnose(&well());
    assert!(diagnosis.findings.is_empty() && diagnosis.notes.is_empty(), "{diagnosis:?}");
    assert_eq!(text(&diagnosis, "Dataset ml/imagenet"), "Dataset ml/imagenet: nothing is wrong\n");
}

#[test]
fn findings_are_printed_so_that_they_cannot_steer_a_terminal() {
    let finding = Finding { about: "Dataset a".into(), what: "bad".into(), why: "\u{1b}[31mred".into(), remedy: "do".into() };
    let diagnosis = Diagnosis { findings: vec![finding], notes: vec!["nodes could not be looked at".into()] };
    let expected = "\
1. Dataset a: bad
   why     \\u{1b}[31mred
   remedy  do
note: nodes could not be looked at
namespace ml: 1 finding
";
    assert_eq!(text(&diagnosis, "namespace ml"), expected);
}

#[test]
fn every_reason_that_a_condition_may_have_has_a_remedy_of_its_own() {
    let source = include_str!("../../../crds/src/conditions.rs");
    let reasons = source.split("pub mod reason").nth(1).unwrap();
    let reasons = reasons.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split('"').nth(1));
    let names = remedy::Names { namespace: "ml", dataset: "imagenet", runtime: "default", secrets: "obs" };
    let mut without = Vec::new();
    for reason in reasons {
        let general = remedy::of_dataset("no such reason", names);
        let runtimes = remedy::of_runtime("no such reason", "default");
        if remedy::of_dataset(reason, names) == general && remedy::of_runtime(reason, "default") == runtimes {
            without.push(reason);
        }
    }
    // Of nodes and of CacheRuntimeScales, whose own messages say what to do.
    let of_others = ["Warm", "Warming", "WarmUpTimedOut", "ScaledByAnother"];
    without.retain(|reason| !of_others.contains(reason));
    assert_eq!(without, ["AsDesired", "ServedByFuse"], "they are the reasons of what holds, and of what is no fault");
}

#[test]
fn what_may_not_be_seen_is_no_fault() {
    let mut observed = well();
    observed.runtimes = None;
    observed.nodes = None;
    observed.driver = None;
    observed.sets = None;
    observed.programs = observed.programs.keys().map(|app| (*app, None)).collect();
    observed.secrets.clear();
    observed.unseen = vec!["nodes could not be looked at: forbidden".into()];
    let diagnosis = diagnose(&observed);
    assert!(diagnosis.findings.is_empty(), "{diagnosis:?}");
    assert_eq!(diagnosis.notes.len(), 1);
}
