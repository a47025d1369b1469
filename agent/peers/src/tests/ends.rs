//! A body that is whole and does not end as bodies do.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use forebay_store::failing::Op;
use forebay_store::policy::Priority;
use forebay_store::{ObjectVersion, Tally};
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::ring::{DEADLINE, Ring, name_of, patient};
use crate::{Neighbour, Net};

/// The agent on `node`, of which each connection is answered once: all the bytes asked for of this object, in chunks, and then `end`.
async fn ends_with(ring: &Ring, node: &str, object: Bytes, end: &'static str) -> SocketAddr {
    let net = Net::new(node, name_of, patient());
    net.set_identity(&ring.authority.identity(&name_of(node))).unwrap();
    let acceptor = TlsAcceptor::from(net.tls.server().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let asked = head.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap();
            let (first, last) = asked.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let bytes = object.slice(first..last + 1);
            let says = format!("content-range: bytes {asked}/{}\r\ncontent-length: {}", object.len(), bytes.len());
            let head =
                format!("HTTP/1.1 206 Partial Content\r\n{says}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", bytes.len());
            stream.write_all(&[head.as_bytes(), &bytes, b"\r\n", end.as_bytes()].concat()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_that_fails_after_its_last_byte_costs_no_request_for_nothing() {
    // It breaks off, says what is no chunk, has a byte more than it was asked for.
    for end in ["", "this is no chunk\r\n", "1\r\nx\r\n0\r\n\r\n"] {
        // All of an object, of which there is a sum, and a part.
        for whole in [true, false] {
            let ring = Ring::new(1).await;
            let agent = &ring.agents[0];
            let store = agent.store(Priority::Reader);
            let (meta, bytes) = ring.sums.put("object", 50_000);
            let range = if whole { 0..meta.size } else { 10..meta.size - 1 };
            let object = ObjectVersion { key: &meta.key, version: &meta.version, size: meta.size };
            // One that is asked for it.
            let mut others = (2..).map(|n| format!("n{n}"));
            loop {
                let node = others.next().unwrap();
                let address = ends_with(&ring, &node, bytes.clone(), end).await;
                let other = Neighbour { node, zone: None, address, leaving: false, since: 0 };
                agent.net.set_neighbours(ring.neighbours().into_iter().chain([other]));
                if store.may_wait_for_peers(object, &range) {
                    break;
                }
            }
            let tally = Arc::<Tally>::default();
            let got = timeout(DEADLINE, store.get_object(object, range.clone(), &tally)).await.unwrap().unwrap();
            let all = got.body.try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            });
            let all = timeout(DEADLINE, all).await.unwrap().unwrap();
            assert!(all == bytes[range.start as usize..range.end as usize], "{end:?}");
            assert_eq!((ring.store.total(Op::Get), tally.take().peer_bytes), (0, range.end - range.start), "{end:?}");
        }
    }
}
