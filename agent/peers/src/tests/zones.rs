//! Of bytes that cross zones.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use forebay_fetch::Filled;
use forebay_store::{ObjectMeta, UnderStore as _};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;

use super::ring::{Agent, DEADLINE, Ring, patient};
use crate::{Limits, Patience, Spread};

const MIB: u64 = 1 << 20;
/// Agents of each of the two zones.
const EACH: usize = 3;

/// Which zone this node is in, whether the agents know it or not.
fn zone_of(node: &str) -> &'static str {
    let number: usize = node.trim_start_matches('n').parse().unwrap();
    if number <= EACH { "a" } else { "b" }
}

/// Two zones, of which the agents are told or not.
async fn two_zones(told: bool) -> Ring {
    in_two_zones(Ring::new(2 * EACH).await, told)
}

fn in_two_zones(mut ring: Ring, told: bool) -> Ring {
    for agent in &mut ring.agents {
        agent.zone = told.then(|| zone_of(&agent.node).to_owned());
    }
    ring.introduce();
    ring
}

/// Bytes that this agent got from the other zone.
fn from_afar(agent: &Agent) -> u64 {
    let given = agent.net.given().into_iter();
    given.filter(|(giver, _)| zone_of(giver) != zone_of(&agent.node)).map(|(_, bytes)| bytes).sum()
}

/// How often each of `total` bytes crossed into the zone where it does not have its owner.
fn crossings(ring: &Ring, total: u64) -> f64 {
    ring.agents.iter().map(from_afar).sum::<u64>() as f64 / total as f64
}

fn put(ring: &Ring, sizes: impl IntoIterator<Item = u64>) -> (Vec<(ObjectMeta, Bytes)>, u64) {
    let objects: Vec<_> = (0..).zip(sizes).map(|(n, size)| ring.sums.put(&format!("dir/object {n}"), size)).collect();
    let total = objects.iter().map(|(meta, _)| meta.size).sum();
    (objects, total)
}

async fn read_all(agent: &Agent, objects: &[(ObjectMeta, Bytes)]) {
    for (meta, bytes) in objects {
        assert!(agent.read(meta).await.unwrap() == *bytes, "{} on {}", meta.key, agent.node);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_all_read_at_once_crosses_into_a_zone_about_once() {
    let mut counts = Vec::new();
    for told in [true, false] {
        let ring = two_zones(told).await;
        let large = (0..6).map(|n| 4 * MIB + n).chain([20 * MIB + 77]);
        let (objects, total) = put(&ring, large.chain((0..10).map(|n| 50_000 + n)));
        timeout(DEADLINE, join_all(ring.agents.iter().map(|agent| read_all(agent, &objects)))).await.unwrap();
        assert_eq!(ring.store.bytes_requested(), total);
        counts.push(crossings(&ring, total));
    }
    // Small ones each node takes for itself where it comes before the others, and who is still writing what it got is asked for it in vain.
    // Where writing takes as long as the others come back, which they count by the clock, the next of them gets it, too.
    let (told, untold) = (counts[0], counts[1]);
    assert!((2.5..3.1).contains(&untold), "{counts:?}");
    assert!((0.9..untold - 0.3).contains(&told), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_nodes_read_one_after_the_other_crosses_into_a_zone_once() {
    // Small ones, of which their owner remembers nothing, and large ones.
    let small: Vec<u64> = (0..40).map(|n| 30_000 + n).collect();
    let large: Vec<u64> = (0..6).map(|n| 3 * MIB + n).chain([20 * MIB + 77]).collect();
    for (told, sizes) in [(true, &small), (true, &large), (false, &small)] {
        let ring = two_zones(told).await;
        let (objects, total) = put(&ring, sizes.iter().copied());
        for n in 0..EACH {
            for agent in [&ring.agents[n], &ring.agents[EACH + n]] {
                timeout(DEADLINE, read_all(agent, &objects)).await.unwrap();
                timeout(DEADLINE, agent.landed()).await.unwrap();
            }
        }
        assert_eq!(ring.store.bytes_requested(), total);
        let crossings = crossings(&ring, total);
        let expected = if told { 0.95..1.05 } else { 2.5..3.1 };
        assert!(expected.contains(&crossings), "told of zones: {told}, {} objects: {crossings}", objects.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_took_what_its_zone_has_and_dies_costs_no_read() {
    let mut ring = two_zones(true).await;
    let (mut objects, _) = put(&ring, (0..24).map(|n| MIB + n).chain((0..16).map(|n| 30_000 + n)));
    // Those whose owner is in the other zone.
    objects.retain(|(meta, _)| {
        let (item, copies) = Spread::EveryNode.place(ring.sums.id(), &meta.key, &meta.version, 0);
        ring.agents.iter().any(|agent| zone_of(&agent.node) == "a" && agent.net.rank(item, copies) == Some(0))
    });
    let total: u64 = objects.iter().map(|(meta, _)| meta.size).sum();
    assert!(total > 4 * MIB, "{total}");
    timeout(DEADLINE, read_all(&ring.agents[EACH], &objects)).await.unwrap();
    timeout(DEADLINE, ring.agents[EACH].landed()).await.unwrap();
    let mut crossed = vec![from_afar(&ring.agents[EACH])];
    ring.agents[EACH].kill().await;
    for agent in &ring.agents[EACH + 1..] {
        let objects = &objects;
        let reads = objects.iter().map(|(meta, bytes)| async move {
            assert!(agent.read(meta).await.unwrap() == *bytes, "{} on {}", meta.key, agent.node);
        });
        timeout(DEADLINE, join_all(reads)).await.unwrap();
        timeout(DEADLINE, agent.landed()).await.unwrap();
        crossed.push(from_afar(agent));
    }
    // The next one takes its place, and has it for the third.
    assert_eq!(crossed, [total, total, 0]);
    assert_eq!(ring.store.bytes_requested(), total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_nobody_of_the_zone_holds_anything_few_are_asked_in_vain() {
    let ring = two_zones(true).await;
    let (objects, _) = put(&ring, (0..200).map(|n| 1000 + n));
    timeout(DEADLINE, read_all(&ring.agents[0], &objects)).await.unwrap();
    let stats = ring.agents[0].fetcher.stats();
    // Five in six are another's, which it is asked for in any case; without an end to hope two more are asked for every second object.
    assert!((130..=270).contains(&stats.peer_gets), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_sharded_is_asked_of_those_that_keep_it_and_not_of_the_zone() {
    let spread = Spread::Sharded(1);
    let ring = in_two_zones(Ring::with(2 * EACH, patient(), spread, 256).await, true);
    let (mut objects, _) = put(&ring, (0..100).map(|n| 1000 + n));
    objects.retain(|(meta, _)| {
        let (item, copies) = spread.place(ring.sums.id(), &meta.key, &meta.version, 0);
        ring.agents[0].net.rank(item, copies) != Some(0)
    });
    timeout(DEADLINE, read_all(&ring.agents[0], &objects)).await.unwrap();
    timeout(DEADLINE, ring.agents[0].landed()).await.unwrap();
    assert_eq!(ring.agents[0].fetcher.stats().peer_gets, objects.len() as u64);
}

/// Brings all of them in as background work, some at a time, the one at `first` first.
async fn prefetch(agent: &Agent, objects: &[(ObjectMeta, Bytes)], first: usize) {
    let in_order = objects[first..].iter().chain(&objects[..first]);
    let fills = in_order.map(|(meta, _)| async move {
        let progress = AtomicU64::new(0);
        let filled = agent.fetcher.fill(&Arc::new(agent.remote(meta)), &progress).await.unwrap();
        assert!(matches!(filled, Filled::Complete), "{} on {}: {filled:?}", meta.key, agent.node);
    });
    stream::iter(fills).buffer_unordered(4).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prefetch_in_two_zones_at_once_ends_and_costs_the_store_one_copy() {
    // More than the memory of all fetchers for background work: nodes of one zone wait for each other at the owners of the other zone, while these
    // wait for memory, which others' waiting holds. It ends because nobody waits for another for long.
    let limits = Limits { patience: Patience::default(), ..patient() };
    let ring = in_two_zones(Ring::with(2 * EACH, limits, Spread::EveryNode, 256).await, true);
    let (objects, total) = put(&ring, (0..6).map(|n| 20 * MIB + n));
    let fills = (0..).zip(&ring.agents).map(|(n, agent)| prefetch(agent, &objects, n));
    timeout(DEADLINE, join_all(fills)).await.unwrap();
    timeout(DEADLINE, join_all(ring.agents.iter().map(|agent| read_all(agent, &objects)))).await.unwrap();
    assert_eq!(ring.store.bytes_requested(), total);
}
