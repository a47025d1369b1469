#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use forebay_crds::dataset::{FailedFile, MountStatus};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, PlacementPolicy, dataset};
use proptest::prelude::*;

use super::*;
use crate::agents::standing::tests::standing;

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: message.into(),
        observed_generation: None,
        reason: reason.into(),
        status: status.into(),
        type_: kind.into(),
    }
}

/// What an agent says in a phase.
fn said_in(phase: Phase) -> DatasetStatus {
    let word = |good: bool, why: &'static str| if good { ("True", reason::AS_DESIRED) } else { ("False", why) };
    let (ready, prefetched, reachable) = match phase {
        Phase::Pending | Phase::Listing => (word(false, reason::LISTING), word(false, reason::LISTING), word(true, "")),
        Phase::Prefetching => (word(true, ""), word(false, reason::PREFETCHING), word(true, "")),
        Phase::Ready => (word(true, ""), word(true, ""), word(true, "")),
        Phase::Degraded => (word(true, ""), word(false, reason::FILES_FAILED), word(false, reason::STORE_UNREACHABLE)),
        Phase::Failed => (word(false, reason::ACCESS_DENIED), word(false, reason::LISTING), word(false, reason::ACCESS_DENIED)),
    };
    DatasetStatus {
        observed_generation: Some(1),
        phase,
        conditions: vec![
            condition(kind::READY, ready.0, ready.1, "ready-words"),
            condition(kind::PREFETCHED, prefetched.0, prefetched.1, "prefetched-words"),
            condition(kind::STORES_REACHABLE, reachable.0, reachable.1, "store-words"),
        ],
        ..DatasetStatus::default()
    }
}

fn names(count: usize) -> BTreeSet<String> {
    (1..=count).map(|i| format!("n{i}")).collect()
}

/// Merges what n1, n2, ... of `desired` nodes say; `None`: silent.
fn merged(desired: usize, said: &[Option<DatasetStatus>], placement: &Placement) -> Merged {
    let desired = names(desired);
    let all: Vec<(String, Standing)> =
        said.iter().enumerate().filter_map(|(i, status)| Some((format!("n{}", i + 1), standing(status.clone()?)))).collect();
    let reports = all.iter().map(|(node, standing)| (node.as_str(), standing)).collect();
    merge(&Nodes { desired: &desired, reports, generation: 1, runtime: "r", chosen: true, served_before: true }, placement)
}

fn every() -> Placement {
    Placement::default()
}

fn sharded(replicas: u32) -> Placement {
    Placement { policy: PlacementPolicy::Sharded, replicas: Some(replicas) }
}

#[test]
fn the_phase_is_that_of_the_nodes_together() {
    use Phase::{Degraded, Failed, Listing, Pending, Prefetching, Ready};
    let table: [(usize, &[Option<Phase>], Phase, &str); 16] = [
        (0, &[], Pending, reason::NO_NODES),
        (1, &[], Pending, reason::NODES_MISSING),
        (1, &[Some(Pending)], Pending, reason::LISTING),
        (1, &[Some(Listing)], Listing, reason::LISTING),
        (1, &[Some(Prefetching)], Prefetching, reason::AS_DESIRED),
        (1, &[Some(Ready)], Ready, reason::AS_DESIRED),
        (1, &[Some(Degraded)], Degraded, reason::AS_DESIRED),
        (1, &[Some(Failed)], Failed, reason::ACCESS_DENIED),
        (2, &[Some(Ready), Some(Ready)], Ready, reason::AS_DESIRED),
        (2, &[Some(Ready), Some(Prefetching)], Prefetching, reason::AS_DESIRED),
        (2, &[Some(Ready), Some(Listing)], Prefetching, reason::LISTING),
        (2, &[Some(Ready), None], Degraded, reason::NODES_MISSING),
        (2, &[Some(Ready), Some(Failed)], Degraded, reason::ACCESS_DENIED),
        (2, &[Some(Listing), Some(Failed)], Listing, reason::ACCESS_DENIED),
        (2, &[None, None], Pending, reason::NODES_MISSING),
        // A node that is not to serve any more does not count.
        (1, &[Some(Ready), Some(Failed)], Ready, reason::AS_DESIRED),
    ];
    for (desired, said, phase, ready) in table {
        let statuses: Vec<_> = said.iter().map(|phase| phase.map(said_in)).collect();
        let merged = merged(desired, &statuses, &every());
        assert_eq!(merged.phase, phase, "{said:?}");
        assert_eq!(merged.verdicts[0].reason, ready, "{said:?}");
        let ok = merged.verdicts[0].holds == Some(true);
        assert_eq!(ok, desired > 0 && merged.nodes.ready as usize == desired, "{said:?}");
    }
}

#[test]
fn who_is_missing_is_named_with_what_to_look_at() {
    let merged = merged(8, &[Some(said_in(Phase::Ready))], &every());
    let message = &merged.verdicts[0].message;
    assert!(message.contains("1 of 8") && message.contains("n2, n3, n4, n5, n6 and 2 more"), "{message}");
    assert!(message.contains("forebay.io/runtime=r"), "{message}");
    assert_eq!(merged.nodes, NodesStatus { ready: 1, desired: 8 });
    assert_eq!(merged.verdicts[1].reason, reason::NODES_MISSING, "nobody knows what the silent ones have cached");
}

#[test]
fn what_a_node_says_is_repeated_with_its_name() {
    let merged = merged(2, &[Some(said_in(Phase::Ready)), Some(said_in(Phase::Failed))], &every());
    for (verdict, words) in merged.verdicts.iter().zip(["ready-words", "prefetched-words", "store-words"]) {
        assert_eq!(verdict.holds, Some(false));
        assert!(verdict.message.contains(&format!("n2: {words}")), "{verdict:?}");
    }
}

#[test]
fn an_agent_that_serves_an_older_spec_is_on_its_way() {
    let old = DatasetStatus { observed_generation: Some(0), ..said_in(Phase::Ready) };
    let merged = merged(1, &[Some(old)], &every());
    assert_eq!((merged.phase, merged.nodes.ready), (Phase::Prefetching, 0));
    assert_eq!(merged.verdicts[0].reason, reason::STARTING);
}

#[test]
fn with_nobody_to_ask_it_is_not_known_whether_stores_answer() {
    assert_eq!(merged(1, &[], &every()).verdicts[2].holds, None);
}

fn cached(bytes: u64, pinned: u64, ratio: Option<f64>) -> Option<DatasetStatus> {
    let tier = |name: &str, bytes, pinned_bytes| TierUsage { name: name.into(), bytes, pinned_bytes };
    let mut status = said_in(Phase::Ready);
    status.catalog = CatalogStatus { bytes: 1000, generation: 1, ..CatalogStatus::default() };
    let tiers = vec![tier("ram", bytes / 2, 0), tier("ssd", bytes - bytes / 2, pinned)];
    status.cache = CacheStatus { bytes, percent: 0, pinned_bytes: pinned, hit_ratio: ratio, tiers };
    Some(status)
}

#[test]
fn cached_bytes_are_counted_once_as_well_as_can_be_known() {
    let nodes = [cached(600, 100, Some(0.5)), cached(1000, 200, Some(1.0)), cached(0, 0, None)];
    let all = merged(3, &nodes, &every()).cache;
    assert_eq!((all.bytes, all.pinned_bytes, all.hit_ratio), (1000, 200, Some(0.75)));
    assert_eq!((all.tiers[0].bytes, all.tiers[1].bytes, all.tiers[1].pinned_bytes), (500, 500, 200));
    let parts = [cached(300, 0, None), cached(400, 0, None), cached(200, 0, None)];
    assert_eq!(merged(3, &parts, &sharded(1)).cache.bytes, 900);
    assert_eq!(merged(3, &parts, &sharded(2)).cache.bytes, 450);
    assert_eq!(merged(3, &nodes, &sharded(1)).cache.bytes, 1000, "no more than the tree has");
}

#[test]
fn work_is_summed_and_the_last_to_end_counts() {
    let node = |done, rate, end, path: &str| {
        let mut status = said_in(Phase::Prefetching);
        status.prefetch = PrefetchStatus {
            done_bytes: done,
            total_bytes: 100,
            done_files: 1,
            total_files: 2,
            bytes_per_second: rate,
            estimated_completion: Timestamp::from_second(end).ok().map(Time),
            failed_files: 1,
            failed: vec![FailedFile { path: path.into(), error: "broken".into() }],
        };
        Some(status)
    };
    let all = merged(2, &[node(10, 5, 70, "/a"), node(20, 6, 60, "/a")], &every()).prefetch;
    assert_eq!((all.done_bytes, all.total_bytes, all.bytes_per_second), (30, 200, 11));
    assert_eq!((all.done_files, all.total_files, all.failed_files, all.failed.len()), (2, 4, 2, 1));
    assert_eq!(all.estimated_completion.unwrap().0.as_second(), 70);
}

#[test]
fn the_newest_listing_is_taken_whole_with_errors_of_every_node() {
    let node = |generation, listed, files, error: Option<&str>| {
        let mut status = said_in(Phase::Ready);
        let mount = MountStatus { path: "/".parse().unwrap(), files, bytes: 0, error: error.map(str::to_owned) };
        let listed_at = Timestamp::from_second(listed).ok().map(Time);
        status.catalog = CatalogStatus { files, generation, listed_at, mounts: vec![mount], ..CatalogStatus::default() };
        Some(status)
    };
    let merged = merged(2, &[node(9, 100, 1, Some("refused")), node(2, 200, 5, None)], &every());
    assert_eq!((merged.catalog.files, merged.catalog.generation), (5, 2));
    assert_eq!(merged.catalog.mounts[0].error.as_deref(), Some("n1: refused"));
}

fn phase() -> impl Strategy<Value = Option<Phase>> {
    use Phase::{Degraded, Failed, Listing, Pending, Prefetching, Ready};
    prop_oneof![1 => Just(None), 5 => prop::sample::select(vec![Pending, Listing, Prefetching, Ready, Degraded, Failed]).prop_map(Some)]
}

fn any_status() -> impl Strategy<Value = Option<DatasetStatus>> {
    (phase(), 0u64..2000, 0u64..2000, 0u64..3).prop_map(|(phase, bytes, size, generation)| {
        let mut status = said_in(phase?);
        status.cache.bytes = bytes;
        status.catalog = CatalogStatus { bytes: size, generation, ..dataset::CatalogStatus::default() };
        Some(status)
    })
}

proptest! {
    /// Whatever agents say: no more nodes are ready than desired, Ready means all of them, and what is not there is not counted.
    #[test]
    fn a_merged_status_is_of_one_piece(desired in 0usize..5, said in prop::collection::vec(any_status(), 0..6), copies in 1u32..4) {
        for placement in [every(), sharded(copies)] {
            let merged = merged(desired, &said, &placement);
            prop_assert_eq!(merged.nodes.desired as usize, desired);
            prop_assert!(merged.nodes.ready <= merged.nodes.desired);
            let counted: Vec<_> = said.iter().take(desired).flatten().collect();
            let sum: u64 = counted.iter().map(|status| status.cache.bytes).sum();
            let greatest = counted.iter().map(|status| status.cache.bytes).max().unwrap_or(0);
            prop_assert!(merged.cache.bytes <= sum && merged.cache.bytes >= greatest);
            if merged.phase == Phase::Ready {
                prop_assert_eq!(merged.nodes.ready as usize, desired);
                prop_assert!(merged.verdicts.iter().all(|verdict| verdict.holds == Some(true)));
            }
            let served = counted.iter().any(|status| served(status.phase));
            prop_assert_eq!(matches!(merged.phase, Phase::Prefetching | Phase::Ready | Phase::Degraded), served);
        }
    }
}

#[test]
fn what_never_was_served_is_starting_and_not_missing() {
    let desired = names(1);
    let nodes =
        |chosen, desired| Nodes { desired, reports: BTreeMap::new(), generation: 1, runtime: "r", chosen, served_before: false };
    let none = BTreeSet::new();
    for (chosen, desired, why) in
        [(true, &desired, reason::STARTING), (false, &none, reason::STARTING), (true, &none, reason::NO_NODES)]
    {
        assert_eq!(merge(&nodes(chosen, desired), &every()).verdicts[0].reason, why);
    }
}

#[test]
fn how_files_are_read_is_said_where_somebody_mounts_it_and_as_of_the_slowest() {
    let node = |composed: Option<(&str, &str, &str)>| {
        let mut status = said_in(Phase::Ready);
        status.conditions.extend(composed.map(|(holds, why, words)| condition(kind::COMPOSED, holds, why, words)));
        Some(status)
    };
    let (fast, slow) = (("True", reason::AS_DESIRED, "natively"), ("False", reason::SERVED_BY_FUSE, "no EROFS"));
    let said = |nodes: [Option<(&str, &str, &str)>; 2]| {
        let merged = merged(2, &nodes.map(node), &every());
        assert_eq!(merged.phase, Phase::Ready, "it is no fault");
        merged.verdicts.into_iter().find(|verdict| verdict.kind == kind::COMPOSED)
    };
    assert_eq!(said([None, None]), None);
    assert_eq!(said([None, Some(fast)]), Some(Verdict::good(kind::COMPOSED, "natively")));
    let bad = Verdict::bad(kind::COMPOSED, reason::SERVED_BY_FUSE, "n2: no EROFS");
    assert_eq!(said([Some(fast), Some(slow)]), Some(bad));

    let native = |holds: &str, words: &str| {
        let mut status = said_in(Phase::Ready);
        status.conditions.push(condition(kind::NATIVE_READS, holds, reason::SERVED_BY_FUSE, words));
        Some(status)
    };
    let merged = merged(2, &[native("True", "natively"), native("False", "switched off")], &every());
    let bad = Verdict::bad(kind::NATIVE_READS, reason::SERVED_BY_FUSE, "n2: switched off");
    assert!(merged.verdicts.contains(&bad) && merged.phase == Phase::Ready);
}
