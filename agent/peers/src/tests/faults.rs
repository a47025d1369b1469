//! Peers that are slow, dead, full or wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_store::failing::{Fault, Op, Rule};
use forebay_store::{ObjectMeta, StoreErrorKind, UnderStore as _};
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ring::{Authority, DATASET, DEADLINE, Ring, Sums, name_of, patient};
use crate::{Answer, Asked, Limits, Neighbour, Net, Refusal, Server, Source, Spread};

const MIB: u64 = 1 << 20;

/// Short, so that tests of silence are.
fn quick() -> Limits {
    let short = Duration::from_millis(300);
    Limits {
        connect: Duration::from_secs(5),
        first_byte: short,
        progress: short,
        whole: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// What a wrong peer does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Garbage,
    Silent,
    SilentInTheMiddle,
    Short,
    Long,
    Refuses,
    Trickles,
    /// For those that ask only for what it holds; for others it is right.
    SilentWhenHeld,
}

struct Liar {
    wrong: Wrong,
    sums: Arc<Sums>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Liar {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let right = self.sums.bytes(&asked.key).slice(asked.range.start as usize..asked.range.end as usize);
        let len = right.len();
        let half = stream::iter([Ok(right.slice(..len / 2))]);
        Ok(match self.wrong {
            Wrong::Garbage => stream::iter([Ok(Bytes::from(vec![0; len]))]).boxed(),
            Wrong::Silent => stream::pending().boxed(),
            Wrong::SilentInTheMiddle => half.chain(stream::pending()).boxed(),
            Wrong::Short => half.boxed(),
            Wrong::Long => stream::iter([Ok(right), Ok(Bytes::from_static(&[0]))]).boxed(),
            Wrong::Refuses => return Err(Refusal::NotHere),
            Wrong::SilentWhenHeld if asked.held => stream::pending().boxed(),
            Wrong::SilentWhenHeld => stream::iter([Ok(right)]).boxed(),
            Wrong::Trickles => {
                let piece = move |at| {
                    let byte = right.slice(at..at + 1);
                    async {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Ok(byte)
                    }
                };
                stream::iter(0..len).then(piece).boxed()
            }
        })
    }
}

/// A peer that serves so, under its own name.
async fn liar(
    ring: &Ring,
    authority: &Authority,
    node: &str,
    certified_as: &str,
    wrong: Wrong,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let net = Arc::new(Net::new(node, name_of, Limits::default()));
    net.set_identity(&authority.identity(&name_of(certified_as))).unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(server.run(
        net,
        Arc::new(Liar { wrong, sums: ring.sums.clone(), asked: asked.clone() }),
        CancellationToken::new(),
    ));
    (address, asked)
}

/// Agents of which the first alone is right, and the others are at `address`.
fn surround(ring: &Ring, address: SocketAddr) {
    let others = (2..=9).map(|n| Neighbour { node: format!("n{n}"), zone: None, address, leaving: false, since: 0 });
    ring.agents[0].net.set_neighbours(others.chain(ring.neighbours()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_peer_does_the_bytes_are_right_and_come_in_time() {
    for wrong in
        [Wrong::Garbage, Wrong::Silent, Wrong::SilentInTheMiddle, Wrong::Short, Wrong::Long, Wrong::Refuses, Wrong::Trickles]
    {
        let ring = Ring::with(1, quick(), Spread::EveryNode, 256).await;
        let mut asked = Vec::new();
        let mut others = Vec::new();
        for n in 2..=9 {
            let node = format!("n{n}");
            let (address, count) = liar(&ring, &ring.authority, &node, &node, wrong).await;
            asked.push(count);
            others.push(Neighbour { node, zone: None, address, leaving: false, since: 0 });
        }
        ring.agents[0].net.set_neighbours(others.into_iter().chain(ring.neighbours()));
        let sizes: &[u64] = match wrong {
            // Objects of one request have a sum that tells.
            Wrong::Garbage => &[50_000, 700_000, MIB],
            _ => &[50_000, 3 * MIB, 20 * MIB],
        };
        for (n, size) in sizes.iter().enumerate() {
            let (meta, bytes) = ring.sums.put(&format!("object {n}"), *size);
            let read = timeout(DEADLINE, ring.agents[0].read(&meta)).await.unwrap_or_else(|_| panic!("{wrong:?}: it hangs"));
            assert!(read.unwrap_or_else(|error| panic!("{wrong:?}: {error}")) == bytes, "{wrong:?}: wrong bytes");
        }
        let asked: usize = asked.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        assert!(asked > 0, "{wrong:?}: nobody was asked");
    }
}

/// Of objects of several extents no sum comes with the bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_disk_has_changed_no_other_node_is_given() {
    let ring = Ring::with(2, Limits::default(), Spread::Sharded(1), 256).await;
    let objects: Vec<_> = (0..8).map(|n| ring.sums.put(&format!("{n}"), 9 * MIB + n)).collect();
    for (meta, bytes) in &objects {
        assert!(ring.agents[0].read(meta).await.unwrap() == *bytes);
    }
    // What the other owns, it was asked for, and has.
    let held = ring.agents[1].damage();
    assert!(held > 0);
    let before = ring.store.bytes_requested();
    ring.agents[0].cache.evict_dataset(DATASET);
    for (meta, bytes) in &objects {
        assert!(ring.agents[0].read(meta).await.unwrap() == *bytes, "{} is wrong", meta.key);
    }
    assert!(ring.store.bytes_requested() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_liar_is_not_asked_again() {
    let ring = Ring::with(1, quick(), Spread::EveryNode, 256).await;
    let (address, asked) = liar(&ring, &ring.authority, "n2", "n2", Wrong::Garbage).await;
    let other = Neighbour { node: "n2".into(), zone: None, address, leaving: false, since: 0 };
    ring.agents[0].net.set_neighbours(ring.neighbours().into_iter().chain([other]));
    for n in 0..20 {
        let (meta, bytes) = ring.sums.put(&format!("object {n}"), 10_000 + n);
        assert!(timeout(DEADLINE, ring.agents[0].read(&meta)).await.unwrap().unwrap() == bytes);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tags_that_are_no_sums_make_nobody_a_liar() {
    let ring = Ring::without_sums(2).await;
    // The version says one sum and the bytes have another, as with keys of a key service.
    let mut objects = Vec::new();
    for n in 0..30 {
        let (mut meta, bytes) = ring.sums.put(&format!("object {n}"), 10_000 + n);
        ring.sums.retag(&mut meta, n);
        objects.push((meta, bytes));
    }
    for agent in &ring.agents {
        for (meta, bytes) in &objects {
            assert!(timeout(DEADLINE, agent.read(meta)).await.unwrap().unwrap() == *bytes);
        }
    }
    let from_peers: u64 = ring.agents.iter().map(|agent| agent.fetcher.stats().peer_bytes).sum();
    assert!(from_peers > 100_000, "after the first all are believed: {from_peers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_the_agent_of_the_node_that_is_asked_is_believed() {
    let foreign = Authority::new();
    let ring = Ring::with(1, quick(), Spread::EveryNode, 256).await;
    // Another node's name, another runtime's, another authority's.
    for (authority, name) in [(&ring.authority, "n1"), (&ring.authority, "n2.other"), (&foreign, "n2")] {
        let (address, asked) = liar(&ring, authority, "n2", name, Wrong::Garbage).await;
        surround(&ring, address);
        let (meta, bytes) = ring.sums.put(&format!("to {address}"), 40 * MIB);
        let read = timeout(DEADLINE, ring.agents[0].read(&meta)).await.unwrap().unwrap();
        assert!(read == bytes, "{name}");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{name} was believed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_agents_of_the_runtime_are_answered() {
    let ring = Ring::new(2).await;
    let (meta, _) = ring.sums.put("big", 40 * MIB);
    let foreign = Authority::new();
    let ids = [
        ring.authority.identity("n1.runtime-other.agents.test"),
        ring.authority.identity(&name_of("n2")),
        foreign.identity(&name_of("n1")),
    ];
    for identity in ids {
        ring.agents[0].net.set_identity(&identity).unwrap();
        ring.agents[0].net.set_neighbours(ring.neighbours());
        let store = ring.agents[0].store(Default::default());
        let object = forebay_store::ObjectVersion { key: &meta.key, version: &meta.version, size: meta.size };
        for extent in 0..5 {
            let range = extent * 8 * MIB..extent * 8 * MIB + 1000;
            let got = timeout(DEADLINE, store.get_object(object, range, &Default::default())).await.unwrap().unwrap();
            assert_eq!(got.body.map(|piece| piece.unwrap().len()).collect::<Vec<_>>().await.iter().sum::<usize>(), 1000);
        }
        assert_eq!(ring.agents[1].fetcher.stats().reader_gets, 0, "the other one served a stranger");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_dies_in_the_middle_costs_no_read_and_little_of_the_store() {
    let mut ring = Ring::new(3).await;
    let objects: Vec<_> = (0..60).map(|n| ring.sums.put(&format!("object {n}"), 2 * MIB + n)).collect();
    let total: u64 = objects.iter().map(|(meta, _)| meta.size).sum();
    let mut third = ring.agents.remove(2);
    let half = AtomicBool::new(false);
    let all = async |agent: &super::ring::Agent| {
        for (n, (meta, bytes)) in objects.iter().enumerate() {
            assert!(agent.read(meta).await.unwrap() == *bytes);
            half.fetch_or(n == objects.len() / 2, Ordering::Relaxed);
        }
    };
    let kill = async {
        while !half.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        third.kill().await;
    };
    timeout(DEADLINE, async { tokio::join!(all(&ring.agents[0]), all(&ring.agents[1]), kill) }).await.unwrap();
    let asked = ring.store.bytes_requested();
    assert!(asked <= total + total / 10, "{asked} of {total}: another node takes the dead one's place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_takes_no_connection_costs_each_read_nothing_after_the_first() {
    let limits = Limits { connect: Duration::from_millis(200), ..quick() };
    let ring = Ring::with(1, limits, Spread::EveryNode, 256).await;
    // It listens, and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let address = mute.local_addr().unwrap();
    let counted = accepted.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = mute.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    });
    let other = Neighbour { node: "n2".into(), zone: None, address, leaving: false, since: 0 };
    ring.agents[0].net.set_neighbours(ring.neighbours().into_iter().chain([other]));
    for n in 0..200 {
        let (meta, bytes) = ring.sums.put(&format!("object {n}"), 10_000 + n);
        assert!(timeout(DEADLINE, ring.agents[0].read(&meta)).await.unwrap().unwrap() == bytes);
    }
    let tried = accepted.load(Ordering::Relaxed);
    assert!((1..=8).contains(&tried), "{tried} connections for 200 reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_store_refuses_is_refused_in_the_stores_words() {
    let ring = Ring::new(3).await;
    for n in 0..6 {
        let (meta, _) = ring.sums.put(&format!("object {n}"), 20_000);
        ring.sums.put(&format!("object {n}"), 20_001);
        for agent in &ring.agents {
            let error = timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), forebay_fetch::FetchErrorKind::Stale, "{error}");
        }
    }
    // A store that is away is told of as such, too, and by the one who reads.
    let (meta, _) = ring.sums.put("away", 20_000);
    ring.store.inject(Rule::always(Fault::Error(StoreErrorKind::Unavailable)));
    for agent in &ring.agents {
        timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap_err();
    }
    ring.store.heal();
    for agent in &ring.agents {
        timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap();
    }
    assert!(ring.store.calls(Op::Get, "away") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_peer_still_passes_on_what_it_cannot_keep() {
    // The least that a cache may have: hardly anything of what it serves stays.
    let ring = Ring::with(2, Limits::default(), Spread::EveryNode, 8).await;
    let (meta, bytes) = ring.sums.put("big", 30 * MIB);
    for agent in &ring.agents {
        assert!(timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap() == bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_slow_to_say_whether_it_holds_what_another_zone_owns_has_not_failed() {
    let limits = Limits { held: Duration::from_secs(4), ..patient() };
    let mut ring = Ring::with(1, limits, Spread::EveryNode, 256).await;
    ring.agents[0].zone = Some("a".into());
    let mut others = Vec::new();
    let mut asked = Vec::new();
    for (node, zone) in [("n2", "a"), ("n3", "b")] {
        let (address, count) = liar(&ring, &ring.authority, node, node, Wrong::SilentWhenHeld).await;
        asked.push(count);
        others.push(Neighbour { node: node.into(), zone: Some(zone.into()), address, leaving: false, since: 0 });
    }
    let agent = &ring.agents[0];
    agent.net.set_neighbours(others.into_iter().chain(ring.neighbours()));
    let mut objects = (0..).map(|n| ring.sums.put(&format!("object {n}"), 50_000 + n));
    let of_the_other_zone = |meta: &ObjectMeta| {
        let (item, _) = Spread::EveryNode.place(ring.sums.id(), &meta.key, &meta.version, 0);
        !agent.net.near(item).is_empty()
    };
    let (meta, bytes) = objects.find(|(meta, _)| of_the_other_zone(meta)).unwrap();
    assert!(timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap() == bytes);
    assert!(asked.iter().all(|count| count.load(Ordering::Relaxed) == 1), "the mate and then the owner");
    let mate = agent.net.named(&["n2".to_owned()]).remove(0);
    assert!(mate.breaker().allows(agent.net.now()), "it is left alone");
}
