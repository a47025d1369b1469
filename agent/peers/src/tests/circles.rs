//! Whoever is asked for what it holds answers, whatever others wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_e2e::wait_until;
use forebay_placement::Item;
use forebay_store::policy::Priority;
use futures::{StreamExt as _, stream};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::ring::{Authority, DATASET, DEADLINE, name_of, patient};
use crate::peer::{Late, PeerError};
use crate::{Answer, Asked, Neighbour, Net, Refusal, Server, Source};

/// Holds one object, and brings in no other, ever.
struct Stuck {
    waiting: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Stuck {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        match (asked.held, &*asked.key) {
            (true, "held") => Ok(stream::iter([Ok(Bytes::from_static(b"data"))]).boxed()),
            (true, _) => Err(Refusal::NotHeld),
            (false, _) => {
                let waiting = self.waiting.clone();
                let never = stream::once(async move {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                });
                Ok(never.boxed())
            }
        }
    }
}

fn asked(key: &str, held: bool) -> Asked {
    let (dataset, store, version) = (DATASET.to_owned(), "s3://test/data".to_owned(), "v".to_owned());
    let (range, priority) = (0..4, Priority::Reader);
    Asked { dataset, store, key: key.to_owned(), version, size: 4, range, priority, held, elsewhere: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_held_is_given_while_all_else_that_is_asked_of_an_agent_waits() {
    let authority = Authority::new();
    let net_of = |node: &str| {
        let net = Arc::new(Net::new(node, name_of, patient()));
        net.set_identity(&authority.identity(&name_of(node))).unwrap();
        net
    };
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address().unwrap();
    let waiting = Arc::<AtomicUsize>::default();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(net_of("stuck"), Arc::new(Stuck { waiting: waiting.clone() }), stop.clone()));
    // As many as it sends bodies to at a time, and more than may be asked over connections to it.
    let item = Item::object("s3://test/data", "a", "v");
    let clients = (0..8).map(|n| {
        let net = net_of(&format!("n{n}"));
        net.set_neighbours([Neighbour { node: "stuck".into(), zone: None, address, leaving: false, since: 0 }]);
        let peer = net.may_hold(item, 1, true).remove(0);
        (net, peer)
    });
    let clients: Vec<_> = clients.collect();
    let mut asking = tokio::task::JoinSet::new();
    for (net, peer) in &clients {
        for _ in 0..12 {
            let (net, peer) = (net.clone(), peer.clone());
            asking.spawn(async move { peer.get(&net, &asked("a", false)).await.map(drop) });
        }
    }
    let all_wait = move || Ok((waiting.load(Ordering::Relaxed) >= 48).then_some(()));
    tokio::task::spawn_blocking(move || wait_until("all bodies to wait", DEADLINE, all_wait)).await.unwrap().unwrap();
    // The others queue for a connection or a turn.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ((net, peer), until) = (&clients[0], tokio::time::Instant::now() + DEADLINE);
    assert!(peer.held(net, &asked("held", true), until, Late::Failed).await.is_ok());
    let refused = peer.held(net, &asked("not held", true), until, Late::Failed).await.map(drop);
    assert!(matches!(refused, Err(PeerError::Refused(StatusCode::NOT_FOUND))), "{refused:?}");
    asking.shutdown().await;
    stop.cancel();
}
