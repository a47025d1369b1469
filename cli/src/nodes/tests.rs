#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use serde_json::{Value, json};

use super::*;

fn pod(app: &str, node: &str, ready: bool, waiting: Option<&str>) -> Pod {
    let state = waiting.map(|reason| json!({"waiting": {"reason": reason, "message": "back-off"}}));
    serde_json::from_value(json!({
        "metadata": {"name": format!("{app}-{node}"), "namespace": "forebay-system", "creationTimestamp": "1970-01-01T00:00:00Z",
            "labels": {names::APP: app, names::RUNTIME: "default"}},
        "spec": {"nodeName": node, "containers": []},
        "status": {
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": ready, "restartCount": 2, "state": state}]
        }
    }))
    .unwrap()
}

fn runtime(conditions: Value) -> CacheRuntime {
    serde_json::from_value(json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": "default"},
        "spec": {"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}]},
        "status": {"readyReplicas": 1, "desiredReplicas": 2, "datasets": 3, "conditions": conditions,
            "tiers": [{"name": "ram", "capacityBytes": 2u64 << 30, "usedBytes": 1u64 << 30, "pinnedBytes": 1 << 20}]}
    }))
    .unwrap()
}

#[test]
fn each_node_is_shown_with_its_agent_and_its_driver() {
    let condition = json!([{"type": "Ready", "status": "False", "reason": "NodesMissing", "message": "1 of 2 agents serve",
        "lastTransitionTime": "1970-01-01T00:00:00Z"}]);
    let agents = vec![
        pod(names::AGENT, "n2", false, Some("ImagePullBackOff")),
        pod(names::AGENT, "n1", true, None),
        pod(names::AGENT, "n3", false, None),
    ];
    let drivers = vec![pod(names::CSI, "n1", true, None), pod(names::CSI, "n2", true, None)];
    let mut dataset = Dataset::new("imagenet", forebay_crds::DatasetSpec::of(Vec::new()));
    dataset.metadata.namespace = Some("ml".into());
    let seen =
        Seen { runtimes: vec![runtime(condition)], agents: Some(agents), drivers: Some(drivers), datasets: Some(vec![dataset]) };
    let expected = "\
CacheRuntime default: 1 of 2 agents serve; Datasets ml/imagenet
  Ready is False (NodesMissing): 1 of 2 agents serve
TIER, ALL NODES   CAPACITY   USED     PINNED
ram               2.00Gi     1.00Gi   1.00Mi
NODE   AGENT              DRIVER    AGENT'S POD                       RESTARTS   AGE
n1     ready              ready     forebay-system/forebay-agent-n1   2          5m
n2     ImagePullBackOff   ready     forebay-system/forebay-agent-n2   2          5m
n3     not ready          missing   forebay-system/forebay-agent-n3   2          5m
";
    assert_eq!(text(&seen, Timestamp::from_second(300).unwrap()), expected);
}

#[test]
fn what_may_not_be_seen_is_said_and_the_rest_is_shown() {
    let seen = Seen { runtimes: vec![runtime(json!([]))], agents: None, drivers: None, datasets: None };
    let shown = text(&seen, Timestamp::UNIX_EPOCH);
    assert!(shown.contains("3 Datasets") && shown.contains("2.00Gi") && shown.contains("you may not list pods"), "{shown}");
    let none = Seen { runtimes: vec![], agents: None, drivers: None, datasets: None };
    assert_eq!(text(&none, Timestamp::UNIX_EPOCH), "No CacheRuntimes: no node lends space.\n");
}
