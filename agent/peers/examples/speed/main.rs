//! The peer path beside plain TCP and a real store (versitygw) on loopback: one reader, data in memory, interleaved rounds. Then a catalog
//! of more than 100 MiB, which goes to a file in the directory for temporary ones (`TMPDIR`). The peer is in this process.
//!
//! `cargo run --release -p forebay-peers --example speed [MIB] [ROUND-TRIP-MS]`: with a delay TCP and the peer go through a link that has it, and
//! the store is left out. A rate the kernel gives: run it in a network namespace whose `lo` has `tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 50ms`.

#[path = "../shared/authority.rs"]
mod authority;
mod catalog;
mod link;
mod plain;
mod under;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use forebay_peers::{
    Answer, Asked, AskedCatalog, CatalogAnswer, Limits, Mount, Neighbour, Net, PeerStore, Refusal, Server, Source, Spread,
};
use forebay_store::memory::MemoryStore;
use forebay_store::policy::Priority;
use forebay_store::{ObjectVersion, Tally, UnderStore, Version};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use authority::{Authority, name_of};
use catalog::Made;
use under::Under;

const EXTENT: u64 = 8 << 20;
/// Requests of one reader at a time, as its read-ahead makes them.
const AHEAD: usize = 4;
const ROUNDS: usize = 5;
/// This agent's node, and the other's.
const NEAR: &str = "near";
const FAR: &str = "far";

/// Gives the same memory again and again, as a cache that is hot, and its catalog.
struct Hot {
    piece: Bytes,
    made: Arc<Made>,
}

#[async_trait]
impl Source for Hot {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let piece = self.piece.clone();
        let pieces = (asked.range.end - asked.range.start) / piece.len() as u64;
        Ok(stream::iter(0..pieces).map(move |_| Ok(piece.clone())).boxed())
    }

    async fn catalog(&self, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
        self.made.give(asked)
    }
}

fn main() -> Result<()> {
    let mib: u64 = std::env::args().nth(1).map_or(Ok(1024), |mib| mib.parse())?;
    let bytes = mib << 20;
    let each_way = Duration::from_millis(std::env::args().nth(2).map_or(Ok(0), |ms| ms.parse())?) / 2;
    let runtime = tokio::runtime::Runtime::new()?;
    let made = Arc::new(Made::build()?);
    let (net, store) = runtime.block_on(peers(each_way, made.clone()))?;
    let under = if each_way.is_zero() { Some(Under::start(bytes)?) } else { None };
    let (mut to_tcp, mut to_store) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = plain::tcp(bytes, each_way)?;
        let peer = runtime.block_on(read_from_peer(&store, bytes))?;
        let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e9;
        to_tcp.push(rate(peer) / rate(plain));
        let mut line =
            format!("plain TCP {:.2} GB/s, peer {:.2} GB/s, ratio {:.2}", rate(plain), rate(peer), rate(peer) / rate(plain));
        if let Some(under) = &under {
            let direct = runtime.block_on(async {
                let version = under.store.head(under.key).await?.version;
                read(&under.store, under.key, &version, bytes).await
            })?;
            to_store.push(rate(peer) / rate(direct));
            line += &format!("; store {:.2} GB/s, ratio {:.2}", rate(direct), rate(peer) / rate(direct));
        }
        say(&line)?;
    }
    say(&format!("median ratio to plain TCP {:.2}, with {} other agent", median(&mut to_tcp), net.len()))?;
    if !to_store.is_empty() {
        say(&format!("median ratio to the store {:.2}", median(&mut to_store)))?;
    }
    catalog::rounds(&runtime, &net, &made, each_way)
}

fn say(line: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(format!("{line}\n").as_bytes())?)
}

fn median(ratios: &mut [f64]) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// This agent and one other, which scores higher for what is read.
async fn peers(each_way: Duration, made: Arc<Made>) -> Result<(Arc<Net>, Arc<dyn UnderStore>)> {
    let authority = Authority::new()?;
    let net_of = |node: &str| -> Result<Arc<Net>> {
        let net = Arc::new(Net::new(node, name_of, Limits::default()));
        net.set_identity(&authority.identity(node)?)?;
        Ok(net)
    };
    let (near, far) = (net_of(NEAR)?, net_of(FAR)?);
    let server = Server::bind("127.0.0.1:0".parse()?).await?;
    near.set_neighbours([Neighbour {
        node: FAR.into(),
        zone: None,
        address: link::through(server.address()?, each_way)?,
        leaving: false,
        since: 0,
    }]);
    let hot = Hot { piece: Bytes::from(vec![7; 256 << 10]), made };
    tokio::spawn(server.run(far, Arc::new(hot), CancellationToken::new()));
    let direct = Arc::new(MemoryStore::new("memory://empty"));
    let store = PeerStore::new(Arc::new(Mount::new(near.clone(), "ml/speed", Spread::Sharded(1))), direct, Priority::Reader);
    Ok((near, Arc::new(store)))
}

async fn read_from_peer(store: &Arc<dyn UnderStore>, bytes: u64) -> Result<Duration> {
    let version = Version::Modified(1);
    // The one whose owner is the other: the store has none of them.
    let key = (0..).map(|n| n.to_string());
    let mut owned = key.filter(|key| store.may_wait_for_peers(ObjectVersion { key, version: &version, size: bytes }, &(0..1)));
    let key = owned.next().context("no key")?;
    read(store, &key, &version, bytes).await
}

/// By ranges, some at a time, as a sequential reader's read-ahead asks.
async fn read(store: &Arc<dyn UnderStore>, key: &str, version: &Version, bytes: u64) -> Result<Duration> {
    let start = Instant::now();
    let got = stream::iter(0..bytes / EXTENT)
        .map(|n| {
            let (store, key, version) = (store.clone(), key.to_owned(), version.clone());
            async move {
                let object = ObjectVersion { key: &key, version: &version, size: bytes };
                let got = store.get_object(object, n * EXTENT..(n + 1) * EXTENT, &Arc::new(Tally::default())).await?;
                got.body.try_fold(0, async |sum, piece| Ok(sum + piece.len() as u64)).await
            }
        })
        .buffered(AHEAD)
        .try_fold(0, async |sum, got| Ok(sum + got))
        .await?;
    ensure!(got == bytes / EXTENT * EXTENT, "{got} of {bytes} bytes came");
    Ok(start.elapsed())
}
