#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use super::*;

fn held(bytes: u64, on: &[(&str, u64)]) -> Held {
    Held { bytes, on: on.iter().map(|(node, bytes)| ((*node).to_owned(), *bytes)).collect() }
}

/// Nodes `name` or `name@zone`; hostnames are the names in capitals.
fn places(nodes: &[&str]) -> HashMap<String, Place> {
    let place = |text: &&str| {
        let (name, zone) = text.split_once('@').map_or((*text, None), |(name, zone)| (name, Some(zone.to_owned())));
        (name.to_owned(), Place { hostname: name.to_uppercase(), zone })
    };
    nodes.iter().map(place).collect()
}

/// `weight key values` of each term.
fn short(terms: &[PreferredSchedulingTerm]) -> Vec<String> {
    let one = |term: &PreferredSchedulingTerm| {
        let requirement = &term.preference.match_expressions.as_ref().unwrap()[0];
        let key = requirement.key.rsplit('/').next().unwrap();
        format!("{} {key} {}", term.weight, requirement.values.as_ref().unwrap().join(","))
    };
    terms.iter().map(one).collect()
}

/// What it shows, the pod's Datasets, the nodes, the terms.
type Row<'a> = (&'a str, Vec<Held>, &'a [&'a str], &'a [&'a str]);

#[test]
fn the_more_a_node_holds_the_more_it_is_preferred() {
    let three = ["a", "b", "c"];
    let zoned = ["a@x", "b@x", "c@y", "d@z"];
    let table: Vec<Row<'_>> = vec![
        ("no Dataset", vec![], &three, &[]),
        ("nothing cached", vec![held(100, &[])], &three, &[]),
        ("an empty tree", vec![held(0, &[("a", 0)])], &three, &[]),
        ("one of three", vec![held(100, &[("a", 100)])], &three, &["80 hostname A"]),
        ("two alike", vec![held(100, &[("b", 100), ("a", 100)])], &three, &["80 hostname A,B"]),
        (
            "by share",
            vec![held(100, &[("a", 100), ("b", 50), ("c", 1)])],
            &three,
            &["80 hostname A", "40 hostname B", "10 hostname C"],
        ),
        ("all have all", vec![held(100, &[("a", 100), ("b", 100), ("c", 100)])], &three, &[]),
        ("all have about as much", vec![held(100, &[("a", 90), ("b", 91), ("c", 99)])], &three, &[]),
        ("a node that takes no pods", vec![held(100, &[("z", 100), ("a", 20)])], &three, &["20 hostname A"]),
        ("older generations do not count", vec![held(100, &[("a", 900), ("b", 100)])], &three, &["80 hostname A,B"]),
        (
            "the great one of two decides",
            vec![held(900, &[("a", 900)]), held(100, &[("b", 100)])],
            &three,
            &["80 hostname A", "10 hostname B"],
        ),
        (
            "then zones",
            vec![held(100, &[("a", 100), ("c", 30)])],
            &zoned,
            &["80 hostname A", "30 hostname C", "20 zone x", "10 zone y"],
        ),
        ("one zone for all says nothing", vec![held(100, &[("a", 100)])], &["a@x", "b@x"], &["80 hostname A"]),
    ];
    for (what, datasets, nodes, expected) in table {
        assert_eq!(short(&terms(&datasets, &places(nodes), "")), expected, "{what}");
    }
}

#[test]
fn what_is_said_is_bounded_and_valid_however_large_the_cluster_is() {
    let names: Vec<String> = (0..2000).map(|i| format!("n{i}@z{}", i % 50)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let places = places(&names);
    let on = (0..1999).map(|i| (format!("n{i}"), u64::MAX / (1 + i % 7))).collect();
    let terms = terms(&[Held { bytes: u64::MAX, on }], &places, "uid");
    let values = |key: &str| -> usize {
        let of = terms.iter().filter_map(|term| term.preference.match_expressions.as_ref()?.first().filter(|r| r.key == key));
        of.map(|requirement| requirement.values.as_ref().unwrap().len()).sum()
    };
    assert_eq!((values(HOSTNAME), values(ZONE)), (NODES, ZONES));
    assert!(terms.len() <= 12 && terms.iter().all(|term| (1..=100).contains(&term.weight)), "{:?}", short(&terms));
}

#[test]
fn pods_alike_name_different_nodes_of_many_and_one_pod_the_same_each_time() {
    let names: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
    let on: Vec<(&str, u64)> = names.iter().take(99).map(|name| (name.as_str(), 7)).collect();
    let places = places(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let of = |seed| short(&terms(&[held(7, &on)], &places, seed));
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
}
