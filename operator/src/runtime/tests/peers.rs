//! Which agents serve each other.

use std::net::SocketAddr;

use super::*;
use crate::runtime::observe::node_facts;
use crate::runtime::peers::{most_are_late, peers};

fn with_ip(node: &str, ip: &str) -> PodFacts {
    let name = format!("forebay-agent-default-{node}");
    PodFacts { name, node: Some(node.into()), ready: true, ip: Some(ip.parse().unwrap()), ..PodFacts::default() }
}

#[test]
fn agents_that_answer_and_stay_serve_each_other_at_their_pods_addresses() {
    let mut zoned = node("n1");
    zoned.labels.insert("topology.kubernetes.io/zone".into(), "a".into());
    let mut observed = observed(ram(None), vec![zoned, node("n2"), node("n3"), node("n4"), node("n5"), node("n6")]);
    observed.live = ["n1", "n2", "n3"].map(|node| live(node, 0, &[])).into();
    observed.live.push(Live { health: None, ..live("n6", 0, &[]) });
    // n3's pod ends, n4's is silent, n5's has said a word to nobody yet, n6's waits for its tiers, and of n2's an older one is still listed.
    let ending = PodFacts { terminating: true, ..with_ip("n3", "10.0.0.3") };
    let former = PodFacts { name: "former".into(), ..with_ip("n2", "10.0.0.99") };
    let starting = ["n5", "n6"].map(|node| PodFacts { ready: false, ..with_ip(node, "10.0.0.5") });
    observed.pods = starting.into();
    observed.pods.extend([former, with_ip("n1", "10.0.0.1"), with_ip("n2", "fd00::2"), ending, with_ip("n4", "10.0.0.4")]);
    let told = |settling, deaf| {
        let peers = peers(&Observed { settling, deaf, ..observed.clone() }, &Default::default());
        peers.into_values().map(|peer| (peer.node, peer.zone, peer.address)).collect::<Vec<_>>()
    };
    let at = |address: &str| address.parse::<SocketAddr>().unwrap();
    let all = [("n1", Some("a"), "10.0.0.1:9102"), ("n2", None, "[fd00::2]:9102"), ("n4", None, "10.0.0.4:9102")];
    let all = all.map(|(node, zone, address)| (node.to_owned(), zone.map(str::to_owned), at(address)));
    assert_eq!(told(false, false), all[..2], "whatever Kubernetes thinks of n4");
    assert_eq!(told(true, false), all, "n4 may not have come over");
    assert_eq!(told(false, true), all, "n4 may be heard by everybody but this operator");
}

#[test]
fn an_operator_that_most_are_late_for_is_the_one_that_does_not_hear() {
    let in_time = |node: &str| live(node, 0, &[]);
    let late = |node: &str| Live { late: true, ..live(node, 0, &[]) };
    let pods = |count: usize| (1..=count).map(|n| with_ip(&format!("n{n}"), "10.0.0.1")).collect::<Vec<_>>();
    let table = [
        ("nobody is there", 0, vec![], false),
        ("one of two died", 2, vec![in_time("n1")], false),
        ("nobody is heard", 2, vec![], true),
        ("nobody is in time", 2, vec![late("n1"), late("n2")], true),
        ("the first is silent now, and others soon will be", 4, vec![in_time("n1"), late("n2")], true),
        ("half", 4, vec![in_time("n1"), in_time("n2"), late("n3")], false),
        ("of a former pod", 1, vec![Live { pod: "former".into(), ..in_time("n1") }], true),
    ];
    for (case, count, live, expected) in table {
        assert_eq!(most_are_late(&pods(count), &live), expected, "{case}");
    }
    let [mut ending, mut down] = [with_ip("n2", "10.0.0.2"), with_ip("n3", "10.0.0.3")];
    (ending.terminating, down.ready) = (true, false);
    let pods = [with_ip("n1", "10.0.0.1"), ending, down];
    assert!(!most_are_late(&pods, &[in_time("n1")]), "kubelet says it of the others too");
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
    observed.live = (1..=7).map(|n| live(&format!("n{n}"), 0, &[])).collect();
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
    observed.live = (1..=3).map(|n| live(&format!("n{n}"), 0, &[])).collect();
    let told: Vec<_> = peers(&observed, &Default::default()).into_values().map(|peer| (peer.node, peer.since)).collect();
    assert_eq!(told, [("n1", 100), ("n2", 0), ("n3", 0)].map(|(node, since)| (node.to_owned(), since)), "n3 is not known");
}

#[test]
fn an_agent_that_is_new_on_an_old_node_is_as_young_as_what_it_has() {
    let told = |came: u64, born: Option<u64>, settling: bool| {
        let mut observed = observed(ram(None), vec![NodeFacts { since: came, ..node("n1") }]);
        observed.pods = vec![with_ip("n1", "10.0.0.1")];
        observed.live = vec![Live { born, ..live("n1", 0, &[]) }];
        observed.settling = settling;
        peers(&observed, &Default::default())["n1"].since
    };
    let table = [
        ("it does not say", 1000, None, 1000),
        ("of a clock that was wrong", 1000, Some(0), 1000),
        ("its disk outlives Node objects", 1000, Some(900), 1000),
        ("as long as an agent takes to begin", 1000, Some(1299), 1000),
        ("late", 1000, Some(1300), 1300),
        ("the node is not known", 0, Some(1300), 1300),
    ];
    for (case, came, born, expected) in table {
        assert_eq!(told(came, born, false), expected, "{case}");
        assert_eq!(told(came, born, true), came, "{case}: not while the others have yet to say theirs");
    }
}
