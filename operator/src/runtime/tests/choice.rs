use std::collections::BTreeSet;

use forebay_crds::CacheRuntimeSpec;
use k8s_openapi::api::core::v1::Taint;
use proptest::prelude::*;

use super::super::choose::{Candidate, choose, matches};
use super::*;

fn candidate(name: &str) -> Candidate<'_> {
    Candidate { name, ready: true, cordoned: false, has: false, dropped: false, busy: false }
}

fn chosen(candidates: &[Candidate<'_>], replicas: Option<u32>) -> Vec<String> {
    choose("default", candidates, replicas).into_iter().collect()
}

/// Golden: another choice after an upgrade would move every cache.
#[test]
fn the_choice_is_the_same_in_every_version() {
    let nodes: Vec<String> = (1..=8).map(|i| format!("n{i}")).collect();
    let candidates: Vec<_> = nodes.iter().map(|name| candidate(name)).collect();
    assert_eq!(chosen(&candidates, Some(3)), ["n3", "n4", "n7"]);
    assert_eq!(choose("gpu", &candidates, Some(3)).into_iter().collect::<Vec<_>>(), ["n2", "n3", "n8"]);
    assert_eq!(chosen(&candidates, None).len(), 8);
    assert_eq!(chosen(&candidates, Some(0)), [""; 0]);
}

#[test]
fn who_has_an_agent_keeps_it_and_the_busy_first() {
    let mut nodes: Vec<_> = ["n1", "n2", "n3", "n4"].map(candidate).into();
    for node in &mut nodes[1..] {
        node.has = true;
    }
    assert_eq!(chosen(&nodes, Some(3)), ["n2", "n3", "n4"]);
    for busy in 1..4 {
        let mut nodes = nodes.clone();
        nodes[busy].busy = true;
        assert_eq!(chosen(&nodes, Some(1)), [nodes[busy].name], "pods use it there");
    }
}

#[test]
fn a_node_that_is_down_is_replaced_where_it_can_be() {
    let mut nodes: Vec<_> = ["n1", "n2"].map(candidate).into();
    nodes[0].has = true;
    nodes[0].ready = false;
    assert_eq!(chosen(&nodes, Some(1)), ["n2"]);
    assert_eq!(chosen(&nodes, Some(2)), ["n1", "n2"]);
    nodes[1].cordoned = true;
    assert_eq!(chosen(&nodes, Some(1)), ["n1"], "no other may take its place");
    nodes[1].has = true;
    assert_eq!(chosen(&nodes, Some(1)), ["n2"], "who is there stays, also when cordoned");
}

#[test]
fn labels_and_taints_decide_who_matches() {
    let spec = |spec: serde_json::Value| serde_json::from_value::<CacheRuntimeSpec>(spec).unwrap();
    let taint =
        |key: &str, effect: &str| Taint { key: key.into(), value: Some("v".into()), effect: effect.into(), time_added: None };
    let plain = spec(ram(None));
    let mut tolerant = ram(None);
    tolerant["tolerations"] = json!([{"key": "gpu", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]);
    let mut selecting = ram(None);
    selecting["nodeSelector"] = json!({"role": "gpu"});
    let mut all = ram(None);
    all["tolerations"] = json!([{"operator": "Exists"}]);
    let labelled = NodeFacts { labels: [("role".to_owned(), "gpu".to_owned())].into(), ..node("n") };
    let tainted = |key, effect| NodeFacts { taints: vec![taint(key, effect)], ..node("n") };
    let table = [
        (plain.clone(), node("n"), true),
        (plain.clone(), tainted("gpu", "NoSchedule"), false),
        (plain.clone(), tainted("gpu", "NoExecute"), false),
        (plain.clone(), tainted("gpu", "PreferNoSchedule"), true),
        (plain.clone(), tainted("node.kubernetes.io/not-ready", "NoExecute"), true),
        (plain.clone(), tainted("ToBeDeletedByClusterAutoscaler", "NoSchedule"), true),
        (plain.clone(), tainted("karpenter.sh/disrupted", "NoSchedule"), true),
        (plain.clone(), tainted("karpenter.sh/disruption", "NoSchedule"), true),
        (plain.clone(), tainted("karpenter.sh/unregistered", "NoExecute"), false),
        (spec(tolerant.clone()), tainted("gpu", "NoSchedule"), true),
        (spec(tolerant.clone()), tainted("gpu", "NoExecute"), false),
        (spec(tolerant), tainted("other", "NoSchedule"), false),
        (spec(all), tainted("anything", "NoExecute"), true),
        (spec(selecting.clone()), node("n"), false),
        (spec(selecting), labelled, true),
    ];
    for (i, (spec, node, expected)) in table.into_iter().enumerate() {
        assert_eq!(matches(&spec, &node), expected, "case {i}");
    }
}

proptest! {
    /// Never more than asked for, never fewer than possible, the same whatever order nodes are listed in, and one that was chosen stays
    /// when nodes come or `replicas` grows.
    #[test]
    fn the_choice_is_bounded_and_sticky(
        facts in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..12),
        replicas in 0u32..14,
        more in 0u32..4,
        seed in any::<u64>(),
    ) {
        let nodes: Vec<String> = (0..facts.len()).map(|i| format!("node-{i}")).collect();
        let candidates: Vec<Candidate<'_>> = nodes
            .iter()
            .zip(&facts)
            .map(|(name, (ready, cordoned, has))| Candidate { name, ready: *ready, cordoned: *cordoned, has: *has, dropped: false, busy: false })
            .collect();
        let first = choose("default", &candidates, Some(replicas));
        let possible = candidates.iter().filter(|node| node.has || (node.ready && !node.cordoned)).count();
        prop_assert_eq!(first.len(), possible.min(replicas as usize));

        let mut shuffled = candidates.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(&choose("default", &shuffled, Some(replicas)), &first);

        let settled: Vec<Candidate<'_>> = candidates
            .iter()
            .map(|node| Candidate { has: first.contains(node.name), ..node.clone() })
            .chain([Candidate { name: "newcomer", ready: true, cordoned: false, has: false, dropped: false, busy: false }])
            .collect();
        let later = choose("default", &settled, Some(replicas + more));
        let ready: BTreeSet<String> =
            candidates.iter().filter(|node| node.ready).map(|node| node.name.to_owned()).collect();
        prop_assert!(first.intersection(&ready).all(|node| later.contains(node)));
    }
}
