#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{EXTENT, Item, Member, Members};

fn member(node: &str, zone: Option<&str>) -> Member {
    Member { node: node.to_owned(), zone: zone.map(str::to_owned), leaving: false, since: 0 }
}

fn members<'a>(nodes: impl IntoIterator<Item = &'a String>) -> Members {
    Members::new(nodes.into_iter().map(|node| member(node, None)))
}

fn names(owners: &[&Member]) -> Vec<String> {
    owners.iter().map(|owner| owner.node.clone()).collect()
}

fn item(n: u64) -> Item {
    Item::object("s3://store.example/bucket", &format!("train/{n:05}.tar"), "e\"5d41402abc4b2a76b9719d911017c592\"")
}

/// Placement is an agreement between nodes of different versions. These never change.
#[test]
fn golden_vectors() {
    let nodes = ["n1", "n2", "n3", "n4", "node-05.example"].map(str::to_owned);
    let members = members(&nodes);
    let golden = include_str!("../golden.txt");
    let mut told = String::new();
    for n in 0..8 {
        let item = item(n);
        let objects = names(&members.owners(item, 3)).join(" ");
        let extents = [0, EXTENT, 9 * EXTENT + 5].map(|offset| names(&members.owners(item.extent_at(offset), 2)).join(" "));
        told.push_str(&format!("{n}: {objects} | {}\n", extents.join(" | ")));
    }
    for dataset in ["ml/imagenet", "default/set"] {
        let item = Item::catalog(dataset);
        let above = nodes.each_ref().map(|node| {
            let above = names(&members.above(node, item));
            [node.clone()].into_iter().chain(above).collect::<Vec<_>>().join(" < ")
        });
        told.push_str(&format!("{dataset}: {}\n", above.join(" | ")));
    }
    assert_eq!(told, golden);
}

#[test]
fn every_node_owns_its_share_of_objects_and_of_extents() {
    for nodes in [2usize, 3, 10, 64] {
        let nodes: Vec<String> = (0..nodes).map(|n| format!("ip-10-0-0-{n}.compute.internal")).collect();
        let members = members(&nodes);
        let items = 400 * nodes.len() as u64;
        let of_objects = |n| item(n);
        let of_extents = |n: u64| item(7).extent_at(n * EXTENT);
        for place in [&of_objects as &dyn Fn(u64) -> Item, &of_extents] {
            let mut share = vec![0u32; nodes.len()];
            for n in 0..items {
                let owner = members.owners(place(n), 1)[0];
                share[nodes.iter().position(|node| *node == owner.node).unwrap()] += 1;
            }
            // Five standard deviations of a fair throw.
            assert!(share.iter().all(|share| (300..=500).contains(share)), "{share:?}");
        }
    }
}

#[test]
fn who_may_hold_it_are_those_who_would_own_it_without_the_one_that_asks() {
    let names_of = ["n1", "n2", "n3", "n4", "n5"];
    let after = Members::new(names_of.map(|node| member(node, None)));
    for n in 0..64 {
        let item = item(n);
        for (node, copies) in names_of.into_iter().flat_map(|node| [(node, 1), (node, 2)]) {
            let without = Members::new(names_of.into_iter().filter(|other| *other != node).map(|other| member(other, None)));
            assert_eq!(names(&after.may_hold(node, item, copies)), names(&without.owners(item, copies)));
        }
    }
    assert_ne!(after.fingerprint(), Members::new([member("n1", None)]).fingerprint());
    assert_ne!(Members::new([]).fingerprint(), 0, "nobody is not the same as not known");
}

#[test]
fn of_nodes_that_came_one_after_the_other_those_who_owned_it_in_turn_are_asked_back_to_the_oldest() {
    // Two that have all, and ten that came at four moments.
    let since = [1, 1, 50, 50, 50, 51, 51, 51, 51, 60, 70, 70];
    let aged = |n: usize| Member { since: since[n], ..member(&format!("n{n}"), None) };
    let all = Members::new((0..since.len()).map(aged));
    let mut asked = 0;
    for n in 0..200 {
        for copies in [1, 2] {
            let item = item(n);
            let node = all.owners(item, 1)[0].node.clone();
            let may_hold = names(&all.may_hold(&node, item, copies));
            // Each is one of the owners that there were at some moment, were it not for the one that asks.
            let mut expected = Vec::new();
            for moment in [70, 60, 51, 50, 1] {
                let there = (0..since.len()).filter(|n| since[*n] <= moment).map(aged).filter(|one| one.node != node);
                for owner in names(&Members::new(there).owners(item, copies)) {
                    if !expected.contains(&owner) {
                        expected.push(owner);
                    }
                }
            }
            assert_eq!(may_hold, expected);
            let old = ["n0", "n1"].map(str::to_owned);
            assert!(may_hold.iter().any(|one| old.contains(one)) || old.contains(&node), "{may_hold:?}");
            asked += may_hold.len();
        }
    }
    // Of twelve, a little more than two for one copy, and twice as many for two.
    assert!((200 * 4..200 * 9).contains(&asked), "{asked}");
}

#[test]
fn what_a_node_that_leaves_owned_others_own_and_ask_it_for() {
    let names_of = ["n1", "n2", "n3", "n4", "n5"];
    let all = Members::new(names_of.map(|node| member(node, None)));
    let leaves = |node: &str| Member { leaving: node == "n3", ..member(node, None) };
    let (after, without) =
        (Members::new(names_of.map(leaves)), Members::new(["n1", "n2", "n4", "n5"].map(|node| member(node, None))));
    let mut asked = 0;
    for (n, copies) in (0..64).flat_map(|n| [(n, 1), (n, 2)]) {
        let item = item(n);
        let owners = names(&after.owners(item, copies));
        assert_eq!(owners, names(&without.owners(item, copies)), "as if it were gone");
        let had = all.rank("n3", item, copies).is_some();
        for node in ["n1", "n2", "n4", "n5"] {
            let first = owners[0] == node;
            let may_hold = names(&after.may_hold(node, item, copies));
            assert_eq!(may_hold.contains(&"n3".to_owned()), had, "{node} asks {may_hold:?}");
            asked += usize::from(first && had && may_hold[0] == "n3");
            assert!(!names(&after.to_ask(node, item, copies, 1)).contains(&"n3".to_owned()), "nobody waits for it");
        }
        // It waits for nobody either, who may still take it for an owner.
        assert_eq!(after.to_ask("n3", item, copies, 1), Vec::<&Member>::new());
        assert_eq!((after.rank("n3", item, copies), names(&after.may_hold("n3", item, copies))), (None, owners));
    }
    assert!(asked > 20, "{asked}");
    assert_ne!(after.fingerprint(), all.fingerprint());
    assert_eq!(after.fingerprint(), without.fingerprint(), "its end moves nothing");
    assert!(after.only_leave_since(&all) && !after.only_leave_since(&after) && !all.only_leave_since(&after));
    let also_restarts = Members::new(["n2", "n3", "n4", "n5"].map(leaves));
    assert!(!also_restarts.only_leave_since(&all) && !also_restarts.only_leave_since(&after), "n1 may be back in a moment");
    let none_stays = Members::new(names_of.map(|node| Member { leaving: true, ..member(node, None) }));
    assert_eq!(names(&none_stays.owners(item(1), 2)), names(&all.owners(item(1), 2)));
}

#[test]
fn the_owner_in_the_same_zone_is_asked_first_and_a_spare_one_last() {
    let zones = [("n1", "a"), ("n2", "b"), ("n3", "c"), ("n4", "a"), ("n5", "b")];
    let members = Members::new(zones.map(|(node, zone)| member(node, Some(zone))));
    let mut moved = 0;
    for n in 0..64 {
        let item = item(n);
        let owners = members.owners(item, 3);
        for (node, zone) in zones {
            let asked = members.to_ask(node, item, 3, 1);
            if let Some(own) = owners.iter().position(|owner| owner.node == node) {
                let before: BTreeSet<_> = owners[..own].iter().collect();
                assert_eq!(asked.iter().collect::<BTreeSet<_>>(), before, "an owner asks those before it");
                continue;
            }
            let all = names(&asked);
            assert_eq!(asked[..3].iter().collect::<BTreeSet<_>>(), owners.iter().collect(), "owners first: {all:?}");
            assert!(!owners.iter().any(|owner| all[3..].contains(&owner.node)), "{all:?}");
            let near = |member: &&Member| member.zone.as_deref() == Some(zone);
            let first_far = asked[..3].iter().position(|member| !near(member)).unwrap_or(3);
            assert!(!asked[first_far..3].iter().any(near), "{node} of zone {zone} asks {all:?}");
            moved += u32::from(all[..3] != names(&owners));
        }
    }
    assert!(moved > 0, "the zones decided nothing");
}

#[test]
fn where_the_owner_is_of_another_zone_all_nodes_of_one_zone_look_at_the_same_few_of_it() {
    let zones = [("n1", "a"), ("n2", "b"), ("n3", "a"), ("n4", "b"), ("n5", "b"), ("n6", "b"), ("n7", "c")];
    let leaves = |node: &str| node == "n6";
    let all = zones.map(|(node, zone)| Member { leaving: leaves(node), ..member(node, Some(zone)) });
    let members = Members::new(all.into_iter().chain([member("unknown", None)]));
    let mut looked = 0;
    for (n, count) in (0..64).flat_map(|n| [(n, 1), (n, 2)]) {
        let item = item(n);
        let ranked = names(&members.owners(item, zones.len() + 1));
        for (node, zone) in zones {
            let asked = members.to_ask(node, item, 1, 1);
            let far = asked.first().is_some_and(|first| first.zone.as_deref() != Some(zone));
            let is_mate = |other: &String| *other != node && zones.contains(&(&**other, zone));
            let mates = ranked.iter().filter(|other| is_mate(other)).take(count);
            let expected: Vec<String> = if far { mates.cloned().collect() } else { Vec::new() };
            assert_eq!(names(&members.near(node, item, count)), expected, "{node} looks for {n}");
            looked += expected.len();
        }
        assert!(members.near("unknown", item, count).is_empty() && members.near("nobody", item, count).is_empty());
        assert!(members.near("n6", item, count).is_empty(), "it leaves");
    }
    assert!(looked > 100, "{looked}");
    assert_eq!((members.zone("n2"), members.zone("unknown"), members.zone("nobody")), (Some("b"), None, None));
}

#[test]
fn a_catalog_goes_from_its_first_owner_to_all_in_a_tree() {
    for count in [1usize, 2, 3, 7, 40, 1000] {
        let nodes: Vec<String> = (0..count).map(|n| format!("node-{n}")).collect();
        let members = members(&nodes);
        let item = Item::catalog("ml/imagenet");
        let root = &members.owners(item, 1)[0].node;
        let mut below: BTreeMap<String, usize> = BTreeMap::new();
        for node in &nodes {
            let above = names(&members.above(node, item));
            assert_eq!(above.is_empty(), node == root);
            assert!(above.last().is_none_or(|last| last == root), "{node}: {above:?}");
            assert!(above.len() <= count.ilog2() as usize, "{node}: {above:?}");
            if let Some(parent) = above.first() {
                *below.entry(parent.clone()).or_default() += 1;
                assert_eq!(above[1..], names(&members.above(parent, item)), "who is above {parent} is above {node}");
            }
        }
        assert!(below.values().all(|children| *children <= 2), "{below:?}");
    }
    let leaving = Members::new(["n1", "n2", "n3"].map(|node| Member { leaving: node == "n2", ..member(node, None) }));
    let item = Item::catalog("ml/imagenet");
    assert!(leaving.above("unknown", item).is_empty());
    // It is where it would be if it stayed, as a leaf.
    let (order, above) = (
        names(&Members::new(["n1", "n2", "n3"].map(|node| member(node, None))).owners(item, 3)),
        names(&leaving.above("n2", item)),
    );
    let place = order.iter().position(|node| node == "n2").unwrap();
    assert_eq!(above.last(), (place > 0).then(|| &order[0]), "{order:?}");
    assert!(["n1", "n3"].iter().all(|node| !names(&leaving.above(node, item)).contains(&"n2".to_owned())));
    assert_ne!(Item::catalog("a/b"), Item::object("a/b", "", ""));
}

fn nodes() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[a-z][a-z0-9-]{0,8}", 1..12)
}

proptest! {
    #[test]
    fn a_node_that_comes_or_goes_moves_only_what_it_must(nodes in nodes(), new in "[A-Z]{1,4}", n in 0u64..1000, copies in 1usize..5) {
        let before = members(&nodes);
        let after = members(nodes.iter().chain([&new]));
        let (item, extent) = (item(n), item(n).extent_at(n * EXTENT));
        for item in [item, extent] {
            let (fewer, more) = (names(&before.owners(item, copies)), names(&after.owners(item, copies)));
            let others: Vec<String> = more.iter().filter(|owner| **owner != new).cloned().collect();
            // Without the new node the owners are the same in the same order; it displaces the last one at most.
            prop_assert_eq!(&others[..], &fewer[..others.len()]);
            prop_assert!(fewer.len() - others.len() <= 1);
        }
    }

    #[test]
    fn the_order_in_which_nodes_are_told_does_not_matter(nodes in nodes(), n in 0u64..1000) {
        let turned: Vec<&String> = nodes.iter().rev().collect();
        prop_assert_eq!(names(&members(&nodes).owners(item(n), 3)), names(&members(turned).owners(item(n), 3)));
    }

    #[test]
    fn nodes_never_wait_for_each_other_in_a_circle(
        nodes in nodes(),
        views in proptest::collection::vec(any::<u16>(), 12),
        zones in proptest::collection::vec(proptest::option::of("[ab]"), 12),
        n in 0u64..1000,
        copies in 1usize..4,
    ) {
        // Each node has a list of members of its own, of which only the node itself is sure.
        let all: Vec<Member> = nodes.iter().zip(&zones).map(|(node, zone)| member(node, zone.as_deref())).collect();
        let rank = names(&Members::new(all.clone()).owners(item(n), all.len()));
        let place = |node: &str| rank.iter().position(|other| other == node);
        for (i, me) in all.iter().enumerate() {
            let seen = |other: usize| other == i || views[i] & (1 << other) != 0;
            let view = Members::new((0..all.len()).filter(|other| seen(*other)).map(|other| all[other].clone()));
            for asked in view.to_ask(&me.node, item(n), copies, 1).into_iter().chain(view.above(&me.node, item(n))) {
                prop_assert!(place(&asked.node) < place(&me.node), "{} asks {}", me.node, asked.node);
            }
        }
    }

    #[test]
    fn whom_a_node_looks_at_in_its_zone_the_nodes_of_other_zones_do_not_change(
        nodes in nodes(),
        zones in proptest::collection::vec(proptest::option::of("[abc]"), 12),
        n in 0u64..1000,
        count in 1usize..4,
    ) {
        let all: Vec<Member> = nodes.iter().zip(&zones).map(|(node, zone)| member(node, zone.as_deref())).collect();
        let members = Members::new(all.clone());
        for me in &all {
            let mates = Members::new(all.iter().filter(|other| other.zone == me.zone && other.node != me.node).cloned());
            let near = names(&members.near(&me.node, item(n), count));
            prop_assert!(near.is_empty() || near == names(&mates.owners(item(n), count)), "{} looks at {near:?}", me.node);
            prop_assert!(near.is_empty() || me.zone.is_some());
        }
    }
}
