//! Catalogs that go from node to node.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ring::{Authority, DATASET, DEADLINE, name_of};
use crate::{Answer, Asked, AskedCatalog, CatalogAnswer, Limits, Neighbour, Net, Refusal, Server, Source, WantedCatalog};

const TREE: &str = "the mounts";

/// What a node does when it is asked for a catalog.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Right,
    /// It says for ever that it lists.
    Hangs,
    /// It sends half of it.
    BreaksOff,
    /// It cannot list.
    Refuses,
}

struct Node {
    net: Arc<Net>,
    way: Mutex<Way>,
    /// The catalog that it has, when its listing began, and the wish that it answered.
    has: watch::Sender<Option<(Bytes, Instant, Option<String>)>>,
    asked: AtomicUsize,
    /// It is about to have one, and sees more and more.
    lists: AtomicBool,
    stop: CancellationToken,
}

#[async_trait]
impl Source for Node {
    async fn read(&self, _: &Asked) -> Result<Answer, Refusal> {
        Err(Refusal::NotHere)
    }

    async fn catalog(&self, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
        let times = self.asked.fetch_add(1, Ordering::Relaxed);
        if (asked.dataset.as_str(), asked.tree.as_str()) != (DATASET, TREE) {
            return Err(Refusal::NotHere);
        }
        let way = *self.way.lock().unwrap();
        match way {
            Way::Hangs => return Ok(CatalogAnswer::NotYet { seen: 5 }),
            Way::Refuses => return Err(Refusal::NotListed),
            Way::Right | Way::BreaksOff => {}
        }
        let arrived = Instant::now();
        let does = |has: &Option<(Bytes, Instant, Option<String>)>| {
            has.as_ref().is_some_and(|(_, began, wish)| {
                let young = asked.within.is_none_or(|within| began.elapsed() <= within + arrived.elapsed());
                young || (wish.is_some() && *wish == asked.wish)
            })
        };
        let mut has = self.has.subscribe();
        let patience = if asked.held { Duration::ZERO } else { Duration::from_secs(1) };
        let Ok(Ok(there)) = timeout(patience, has.wait_for(does)).await.map(|there| there.map(|there| there.clone())) else {
            return if asked.held {
                Err(Refusal::NotHeld)
            } else {
                Ok(CatalogAnswer::NotYet { seen: if self.lists.load(Ordering::Relaxed) { times as u64 } else { 0 } })
            };
        };
        let (bytes, began, wish) = there.unwrap();
        // So is one whose age nobody knows.
        let age = if wish.as_deref() == Some("of any age") { Duration::MAX } else { began.elapsed() };
        let len = bytes.len();
        let pieces: Vec<_> = bytes.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let sent = if way == Way::BreaksOff { pieces.len() / 2 } else { pieces.len() };
        Ok(CatalogAnswer::Here { pieces: stream::iter(pieces).take(sent).boxed(), len: len as u64, age })
    }
}

impl Node {
    /// Takes the catalog of another node, or else lists, which takes a moment and is counted.
    async fn list(&self, since: Option<Instant>, wish: Option<&str>, listings: &AtomicUsize) -> Bytes {
        let wish = wish.map(str::to_owned);
        let wanted = WantedCatalog { dataset: DATASET.into(), tree: TREE.into(), since, wish: wish.clone() };
        let file = tempfile::NamedTempFile::new().unwrap();
        self.lists.store(true, Ordering::Relaxed);
        let taken = self.net.catalog(&wanted, file.reopen().unwrap(), &AtomicU64::new(0)).await;
        let (bytes, began) = match taken {
            Some(age) => (fs::read(file.path()).unwrap().into(), Instant::now().checked_sub(age).unwrap()),
            None => {
                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(200)).await;
                let number = listings.fetch_add(1, Ordering::Relaxed);
                (Bytes::from(vec![u8::try_from(number).unwrap(); 300_000]), began)
            }
        };
        self.has.send_replace(Some((bytes.clone(), began, wish)));
        self.lists.store(false, Ordering::Relaxed);
        bytes
    }
}

/// Agents who know each other, the first owner of the catalog first and then the others by their rank.
async fn nodes(count: usize) -> Vec<Arc<Node>> {
    patient_nodes(count, Duration::from_secs(5)).await
}

/// The same, who wait for a listing that sees nothing new for so long.
async fn patient_nodes(count: usize, listing: Duration) -> Vec<Arc<Node>> {
    let (authority, mut nodes, mut neighbours) = (Authority::new(), Vec::new(), Vec::new());
    let limits = Limits { listing, ..Limits::default() };
    for n in 0..count {
        let name = format!("n{n}");
        let net = Arc::new(Net::new(&name, name_of, limits.clone()));
        net.set_identity(&authority.identity(&name_of(&name))).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        neighbours.push(Neighbour { node: name, zone: None, address: server.address().unwrap(), leaving: false, since: 0 });
        let (has, stop) = (watch::Sender::new(None), CancellationToken::new());
        let node = Arc::new(Node {
            net: net.clone(),
            way: Mutex::new(Way::Right),
            has,
            asked: AtomicUsize::new(0),
            lists: AtomicBool::new(false),
            stop: stop.clone(),
        });
        tokio::spawn(server.run(net, node.clone(), stop));
        nodes.push(node);
    }
    for node in &nodes {
        node.net.set_neighbours(neighbours.clone());
    }
    let item = forebay_placement::Item::catalog(DATASET);
    nodes.sort_by_key(|node| node.net.rank(item, count));
    nodes
}

async fn list_all(nodes: &[Arc<Node>], since: Option<Instant>, wish: Option<&str>, listings: &AtomicUsize) -> Vec<Bytes> {
    let lists = nodes.iter().map(|node| node.list(since, wish, listings));
    timeout(DEADLINE, join_all(lists)).await.expect("it hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_nodes_list_once() {
    let (nodes, listings) = (nodes(7).await, AtomicUsize::new(0));
    let all = list_all(&nodes, None, None, &listings).await;
    assert!(all.iter().all(|one| *one == all[0]) && all[0].len() == 300_000);
    assert_eq!(listings.load(Ordering::Relaxed), 1);
    // Again for a wish, of which the nodes hear one after the other: that listing is newer than each of their wishes, or answers it.
    let wished = nodes.iter().enumerate().map(async |(n, node)| {
        tokio::time::sleep(Duration::from_millis(100 * n as u64)).await;
        node.list(Some(Instant::now()), Some("a wish"), &listings).await
    });
    let all = timeout(DEADLINE, join_all(wished)).await.expect("it hangs");
    assert!(all.iter().all(|one| one[0] == 1), "all have the second listing");
    assert_eq!(listings.load(Ordering::Relaxed), 2);
    // What is older than is wanted does not do.
    nodes[1].list(Some(Instant::now()), None, &listings).await;
    assert_eq!(listings.load(Ordering::Relaxed), 3);
    // The first owner, new on its node, takes what others have, and does not wait for it.
    let again = nodes[0].list(None, None, &listings).await;
    assert_eq!((again[0], listings.load(Ordering::Relaxed)), (2, 3));
    // Also if those next to it are as new as it is.
    nodes[1..4].iter().for_each(|node| drop(node.has.send_replace(None)));
    let again = nodes[0].list(None, None, &listings).await;
    assert_eq!((again[0], listings.load(Ordering::Relaxed)), (1, 3), "what the fifth has since the second listing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_gives_none_costs_a_listing_and_no_more() {
    for way in [Way::Hangs, Way::BreaksOff, Way::Refuses] {
        let (nodes, listings) = (patient_nodes(4, Duration::from_secs(2)).await, AtomicUsize::new(0));
        *nodes[0].way.lock().unwrap() = way;
        let all = list_all(&nodes, None, None, &listings).await;
        assert!(all.iter().all(|one| one.len() == 300_000 && one.iter().all(|byte| *byte == one[0])), "{way:?}");
        // The fourth node is below the second.
        assert_eq!(all[3], all[1], "{way:?}");
        assert_eq!(listings.load(Ordering::Relaxed), 3, "{way:?}: the first, and the two below it");
        assert!(nodes[0].asked.load(Ordering::Relaxed) > 0, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_catalog_of_unknown_age_comes_as_such_and_harms_nobody() {
    let nodes = nodes(2).await;
    nodes[0].has.send_replace(Some((Bytes::from_static(b"catalog"), Instant::now(), Some("of any age".into()))));
    let wanted = WantedCatalog { dataset: DATASET.into(), tree: TREE.into(), since: None, wish: None };
    for _ in 0..3 {
        let file = tempfile::NamedTempFile::new().unwrap();
        let age = timeout(DEADLINE, nodes[1].net.catalog(&wanted, file.reopen().unwrap(), &AtomicU64::new(0))).await.unwrap();
        assert!(age.unwrap() >= Duration::from_millis(u64::MAX));
        assert_eq!(fs::read(file.path()).unwrap(), b"catalog");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_are_dead_are_stepped_over() {
    let (nodes, listings) = (nodes(4).await, AtomicUsize::new(0));
    let first = nodes[0].list(None, None, &listings).await;
    nodes[1].stop.cancel();
    let last = timeout(DEADLINE, nodes[3].list(None, None, &listings)).await.expect("it hangs");
    assert_eq!((last, listings.load(Ordering::Relaxed)), (first, 1), "the one above the dead one gave it");
}
