//! Which agents serve each other.

use std::net::SocketAddr;

use super::*;
use crate::runtime::observe::node_facts;
use crate::runtime::plan::peers;

fn with_ip(node: &str, ip: &str) -> PodFacts {
    let name = format!("forebay-agent-default-{node}");
    PodFacts { name, node: Some(node.into()), ready: true, ip: Some(ip.parse().unwrap()), ..PodFacts::default() }
}

#[test]
fn agents_that_answer_or_are_ready_and_stay_serve_each_other_at_their_pods_addresses() {
    let mut zoned = node("n1");
    zoned.labels.insert("topology.kubernetes.io/zone".into(), "a".into());
    let mut observed = observed(ram(None), vec![zoned, node("n2"), node("n3"), node("n4"), node("n5")]);
    observed.live = ["n1", "n2", "n3"].map(|node| live(node, 0, &[])).into();
    // n3's pod ends, n4's has not said a word to this operator, n5's to nobody yet, and of n2's an older one is still listed.
    let ending = PodFacts { terminating: true, ..with_ip("n3", "10.0.0.3") };
    let former = PodFacts { name: "former".into(), ..with_ip("n2", "10.0.0.99") };
    let starting = PodFacts { ready: false, ..with_ip("n5", "10.0.0.5") };
    observed.pods =
        vec![starting, former, with_ip("n1", "10.0.0.1"), with_ip("n2", "fd00::2"), ending, with_ip("n4", "10.0.0.4")];
    let told: Vec<_> =
        peers(&observed, &Default::default()).into_values().map(|peer| (peer.node, peer.zone, peer.address)).collect();
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let expected = [("n1", Some("a"), "10.0.0.1:9102"), ("n2", None, "[fd00::2]:9102"), ("n4", None, "10.0.0.4:9102")];
    assert_eq!(told, expected.map(|(node, zone, address)| (node.to_owned(), zone.map(str::to_owned), at(address))));
}

#[test]
fn an_agent_whose_pod_has_no_address_yet_is_not_told_of() {
    let mut observed = observed(ram(None), vec![node("n1")]);
    observed.live = vec![live("n1", 0, &[])];
    observed.pods = vec![PodFacts { ip: None, ..with_ip("n1", "10.0.0.1") }];
    assert!(peers(&observed, &Default::default()).is_empty());
}

#[test]
fn a_node_that_shuts_down_or_is_being_deleted_is_leaving() {
    let is_leaving = |changed: serde_json::Value| {
        let mut node = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        node.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        node_facts(&serde_json::from_value(node).unwrap()).is_leaving()
    };
    let ready = |status: &str, reason: &str, message: &str| {
        let one = json!({"type": "Ready", "status": status, "reason": reason, "message": message});
        json!({"status": {"conditions": [{"type": "DiskPressure", "status": "False"}, one]}})
    };
    assert!(is_leaving(ready("False", "KubeletNotReady", "node is shutting down")));
    assert!(is_leaving(ready("False", "node is shutting down", "")));
    assert!(is_leaving(json!({"metadata": {"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}})));
    assert!(!is_leaving(json!({})));
    assert!(!is_leaving(ready("False", "KubeletNotReady", "container runtime is down")), "it may be back in a moment");
    assert!(!is_leaving(ready("True", "", "the node is shutting down no more")));
}

#[test]
fn agents_on_nodes_that_are_drained_or_removed_are_leaving() {
    let nodes = vec![
        node("n1"),
        NodeFacts { unschedulable: true, ..node("n2") },
        tainted("n3", "ToBeDeletedByClusterAutoscaler"),
        tainted("n4", "karpenter.sh/disrupted"),
        tainted("n5", "nvidia.com/gpu"),
        tainted("n6", "DeletionCandidateOfClusterAutoscaler"),
    ];
    let mut observed = observed(ram(None), nodes);
    observed.pods = (1..=7).map(|n| with_ip(&format!("n{n}"), &format!("10.0.0.{n}"))).collect();
    let leaving: Vec<_> =
        peers(&observed, &Default::default()).into_values().filter(|peer| peer.leaving).map(|peer| peer.node).collect();
    assert_eq!(leaving, ["n2", "n3", "n4"], "and of n7 nothing is known");
    let gone: Vec<_> = peers(&observed, &["n1".to_owned()].into()).into_values().filter(|peer| peer.leaving).collect();
    assert_eq!(gone.len(), 4, "and one that is not chosen any more");
}

#[test]
fn agents_are_told_when_the_nodes_of_the_others_came() {
    let since = |metadata: Value| node_facts(&serde_json::from_value(json!({"metadata": metadata})).unwrap()).since;
    let table = [
        (json!({"name": "n", "creationTimestamp": "1970-01-01T00:01:40Z"}), 100),
        (json!({"name": "n", "creationTimestamp": "1969-12-31T23:59:59Z"}), 0),
        (json!({"name": "n"}), 0),
    ];
    for (metadata, expected) in table {
        assert_eq!(since(metadata.clone()), expected, "{metadata}");
    }
    let mut observed = observed(ram(None), vec![NodeFacts { since: 100, ..node("n1") }, node("n2")]);
    observed.pods = (1..=3).map(|n| with_ip(&format!("n{n}"), &format!("10.0.0.{n}"))).collect();
    let told: Vec<_> = peers(&observed, &Default::default()).into_values().map(|peer| (peer.node, peer.since)).collect();
    assert_eq!(told, [("n1", 100), ("n2", 0), ("n3", 0)].map(|(node, since)| (node.to_owned(), since)), "n3 is not known");
}
