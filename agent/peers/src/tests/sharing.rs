//! What many nodes read leaves the store once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_store::failing::Op;
use forebay_store::{ObjectMeta, UnderStore as _};
use futures::future::join_all;
use tokio::time::timeout;

use super::ring::{Agent, DEADLINE, Ring, patient};
use crate::{Limits, Neighbour, Spread};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stampede_of_cold_nodes_costs_the_store_one_copy() {
    let ring = Ring::new(4).await;
    // Small ones, one block, several extents, an end that is no block's.
    let sizes = [1, 70_000, 70_001, 999_999, MIB, 3 * MIB + 5, 8 * MIB, 20 * MIB + 77, 300_000, 5];
    let objects: Vec<_> = (0..).zip(sizes).map(|(n, size)| ring.sums.put(&format!("dir/object {n}"), size)).collect();
    let total: u64 = sizes.iter().sum();
    let reads = ring.agents.iter().flat_map(|agent| {
        objects.iter().map(move |(meta, bytes)| async move {
            assert!(agent.read(meta).await.unwrap() == *bytes, "{} on {}", meta.key, agent.node);
        })
    });
    timeout(DEADLINE, join_all(reads)).await.unwrap();
    assert_eq!(ring.store.bytes_requested(), total, "each byte was asked for once");
    let stats: Vec<_> = ring.agents.iter().map(|agent| agent.fetcher.stats()).collect();
    let from_peers: u64 = stats.iter().map(|stats| stats.peer_bytes).sum();
    let from_store: u64 = stats.iter().map(|stats| stats.reader_bytes).sum();
    // What an owner was asked for before its own reader came is nobody's twice.
    assert_eq!((from_peers, from_store), (3 * total, total), "{stats:?}");
    assert!(stats.iter().all(|stats| stats.reader_bytes > 0), "every node brought in a share: {stats:?}");
    let gets: u64 = stats.iter().map(|stats| stats.reader_gets).sum();
    assert_eq!(gets, ring.store.total(Op::Get), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_comes_late_takes_all_from_the_others() {
    let ring = Ring::new(3).await;
    let (meta, bytes) = ring.sums.put("big", 30 * MIB + 3);
    for agent in &ring.agents[..2] {
        assert!(timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap() == bytes);
    }
    // The third was asked for its share already, so the store has nothing left to give.
    let before = ring.store.bytes_requested();
    assert_eq!(before, meta.size);
    assert!(timeout(DEADLINE, ring.agents[2].read(&meta)).await.unwrap().unwrap() == bytes);
    assert_eq!(ring.store.bytes_requested(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_node_takes_also_what_it_is_to_own_from_those_who_hold_it() {
    for spread in [Spread::EveryNode, Spread::Sharded(1)] {
        let mut ring = Ring::with(2, patient(), spread, 256).await;
        let objects: Vec<_> = (0..60).map(|n| ring.sums.put(&format!("{n}"), 100_000 + n)).collect();
        for agent in &ring.agents {
            for (meta, bytes) in &objects {
                assert!(timeout(DEADLINE, agent.read(meta)).await.unwrap().unwrap() == *bytes);
            }
        }
        let before = ring.store.bytes_requested();
        ring.join(spread).await;
        for (meta, bytes) in &objects {
            assert!(timeout(DEADLINE, ring.agents[2].read(meta)).await.unwrap().unwrap() == *bytes);
        }
        assert_eq!(ring.store.bytes_requested(), before, "{spread:?}");
    }
}

/// So many hold everything when so many more come at once, and all of these read everything.
async fn bytes_again_when_several_come(spread: Spread, old: usize, new: usize, at_once: bool) -> f64 {
    let mut ring = Ring::with(old, patient(), spread, 256).await;
    let objects: Vec<_> =
        (0..60).map(|n| ring.sums.put(&format!("{n}"), 100_000 + n)).chain([ring.sums.put("big", 20 * MIB)]).collect();
    for agent in &ring.agents {
        for (meta, bytes) in &objects {
            assert!(timeout(DEADLINE, agent.read(meta)).await.unwrap().unwrap() == *bytes);
        }
        timeout(DEADLINE, agent.landed()).await.unwrap();
    }
    let before = ring.store.bytes_requested();
    for _ in 0..new {
        ring.join(spread).await;
    }
    if at_once {
        ring.agents[old..].iter_mut().for_each(|agent| agent.since = 1000);
        ring.introduce();
    }
    let reads = ring.agents[old..].iter().flat_map(|agent| {
        objects.iter().map(move |(meta, bytes)| async move {
            assert!(agent.read(meta).await.unwrap() == *bytes, "{} on {}", meta.key, agent.node);
        })
    });
    timeout(DEADLINE, join_all(reads)).await.unwrap();
    let total: u64 = objects.iter().map(|(meta, _)| meta.size).sum();
    (ring.store.bytes_requested() - before) as f64 / total as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_nodes_that_come_together_take_nothing_from_the_store_again() {
    for spread in [Spread::EveryNode, Spread::Sharded(1), Spread::Sharded(2)] {
        for (old, new, at_once) in [(1, 4, true), (1, 4, false), (2, 8, true)] {
            let again = bytes_again_when_several_come(spread, old, new, at_once).await;
            assert!(again == 0.0, "{spread:?}, {new} to {old}, at once: {at_once}: {again}");
        }
    }
}

/// One that has the bytes is not crushed: who got them gives them to the next ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_all_want_at_once_spreads_from_node_to_node() {
    let ring = Ring::with(24, Limits { fanout: 1, ..patient() }, Spread::EveryNode, 256).await;
    let mut by_others = 0;
    for n in 0..4 {
        // It has one owner, for it is one extent.
        let (meta, bytes) = &ring.sums.put(&format!("weights {n}"), 6 * MIB + n);
        let (item, copies) = Spread::EveryNode.place(ring.sums.id(), &meta.key, &meta.version, 0);
        let owner = |agent: &&Agent| agent.net.rank(item, copies) == Some(0);
        ring.agents.iter().for_each(|agent| agent.given.store(0, Ordering::Relaxed));
        let before = ring.store.bytes_requested();
        // One has it when the crowd comes.
        let early = ring.agents.iter().find(|agent| !owner(agent)).unwrap();
        assert!(timeout(DEADLINE, early.read(meta)).await.unwrap().unwrap() == *bytes);
        timeout(DEADLINE, early.landed()).await.unwrap();
        let reads = ring.agents.iter().map(|agent| async move {
            assert!(agent.read(meta).await.unwrap() == *bytes, "{} on {}", meta.key, agent.node);
        });
        timeout(DEADLINE, join_all(reads)).await.unwrap();
        assert_eq!(ring.store.bytes_requested() - before, meta.size);
        by_others +=
            ring.agents.iter().filter(|agent| !owner(agent)).map(|agent| agent.given.load(Ordering::Relaxed)).sum::<usize>();
    }
    assert!(by_others > 0, "the owner gave everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_only_a_node_that_leaves_holds_is_taken_from_it() {
    let spread = Spread::Sharded(1);
    let ring = Ring::with(3, patient(), spread, 256).await;
    let objects: Vec<_> = (0..60).map(|n| ring.sums.put(&format!("{n}"), 100_000 + n)).collect();
    let owner = |meta: &ObjectMeta| {
        let (item, copies) = spread.place(ring.sums.id(), &meta.key, &meta.version, 0);
        ring.agents.iter().find(|agent| agent.net.rank(item, copies) == Some(0)).unwrap()
    };
    for (meta, bytes) in &objects {
        assert!(timeout(DEADLINE, owner(meta).read(meta)).await.unwrap().unwrap() == *bytes);
    }
    let before = ring.store.bytes_requested();
    let leaving = |mut one: Neighbour| {
        one.leaving = one.node == "n3";
        one
    };
    ring.agents.iter().for_each(|agent| agent.net.set_neighbours(ring.neighbours().into_iter().map(leaving)));
    assert!(ring.agents[0].net.others_leave() && !ring.agents[2].net.others_leave());
    for (meta, bytes) in &objects {
        assert_ne!(owner(meta).node, "n3");
        assert!(timeout(DEADLINE, owner(meta).read(meta)).await.unwrap().unwrap() == *bytes);
    }
    assert_eq!(ring.store.bytes_requested(), before);
    // Those that stay hold all of it now.
    let still_there = ring.neighbours().into_iter().filter(|one| one.node != "n3");
    ring.agents[..2].iter().for_each(|agent| agent.net.set_neighbours(still_there.clone()));
    assert!(ring.agents[0].net.others_leave(), "it had left before");
    for (meta, bytes) in &objects {
        assert!(timeout(DEADLINE, owner(meta).read(meta)).await.unwrap().unwrap() == *bytes);
    }
    assert_eq!(ring.store.bytes_requested(), before);
    ring.agents[0].net.set_neighbours(still_there.filter(|one| one.node == "n1"));
    assert!(!ring.agents[0].net.others_leave(), "that one may be back in a moment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_nobody_holds_anything_few_are_asked_in_vain() {
    let ring = Ring::new(2).await;
    let objects: Vec<_> = (0..200).map(|n| ring.sums.put(&format!("{n}"), 1000 + n)).collect();
    for (meta, bytes) in &objects {
        assert!(timeout(DEADLINE, ring.agents[0].read(meta)).await.unwrap().unwrap() == *bytes);
    }
    let stats = ring.agents[0].fetcher.stats();
    // About half of the objects are the other's, which it is asked for in any case.
    assert!((60..=150).contains(&stats.peer_gets), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prefetch_on_all_nodes_at_once_costs_one_copy_and_ends() {
    // More than the memory that all fetchers have: nodes that hold each other's memory would never end.
    let ring = Ring::new(3).await;
    let objects: Vec<_> = (0..40).map(|n| ring.sums.put(&format!("{n}"), 4 * MIB + n)).collect();
    let total: u64 = objects.iter().map(|(meta, _)| meta.size).sum();
    let fills = ring.agents.iter().flat_map(|agent| {
        objects.iter().map(move |(meta, _)| async move {
            let progress = AtomicU64::new(0);
            agent.fetcher.fill(&Arc::new(agent.remote(meta)), &progress).await.unwrap();
            assert_eq!(progress.into_inner(), meta.size);
        })
    });
    timeout(DEADLINE, join_all(fills)).await.unwrap();
    assert_eq!(ring.store.bytes_requested(), total);
}

#[tokio::test]
async fn alone_and_before_there_is_a_certificate_the_store_is_asked() {
    let ring = Ring::new(1).await;
    let (meta, bytes) = ring.sums.put("a", 100_000);
    assert!(ring.agents[0].read(&meta).await.unwrap() == bytes);
    assert_eq!(ring.agents[0].fetcher.stats().peer_gets, 0);
}
