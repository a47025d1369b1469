//! One agent: what the product has on a node, but for mounts and catalogs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use forebay_cache::{Cache, CacheConfig, DatasetId, DatasetPolicy, Landing, Medium, ObjectId, TierConfig};
use forebay_fetch::{Class, FetchConfig, Fetcher, Remote};
use forebay_peers::{Answer, Asked, BodyError, Limits, Mount, Neighbour, Net, PeerStore, Refusal, Server, Source, Spread};
use forebay_store::policy::Priority;
use forebay_store::{ObjectMeta, UnderStore, Version};
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, name_of};

const DATASET: &str = "ml/many";
/// Blocks ahead of a reader, a quarter of what the product has: all agents' memory is this one process's.
const AHEAD: u32 = 32;
/// Bytes of one read.
const PIECE: usize = 1 << 20;

/// What all agents have in common.
pub(crate) struct World {
    /// Of all caches.
    pub(crate) dir: PathBuf,
    /// Bytes that each cache may have.
    pub(crate) room: u64,
    pub(crate) store: Arc<dyn UnderStore>,
    pub(crate) authority: Authority,
    /// Ends all servers.
    pub(crate) stop: CancellationToken,
}

pub(crate) struct Agent {
    pub(crate) node: String,
    pub(crate) zone: String,
    pub(crate) net: Arc<Net>,
    pub(crate) reader: Reader,
    pub(crate) server: JoinHandle<()>,
    address: SocketAddr,
}

/// The way of the bytes through one agent.
#[derive(Clone)]
pub(crate) struct Reader {
    fetcher: Fetcher,
    cache: Cache,
    dataset: DatasetId,
    mount: Arc<Mount>,
    direct: Arc<dyn UnderStore>,
}

impl Agent {
    pub(crate) async fn start(world: &World, node: String, zone: String) -> Result<Self> {
        let dir = world.dir.join(&node);
        let (name, medium, capacity) = ("ssd".to_owned(), Medium::Disk, world.room);
        let tier = TierConfig { name, medium, dir: dir.join("tier"), capacity, reserve: 0 };
        let cache = Cache::open(CacheConfig::new(vec![tier], dir.join("index")))?;
        let dataset = cache.set_dataset(DATASET, DatasetPolicy::default());
        let fetcher = Fetcher::new(FetchConfig { max_ahead: AHEAD, ..FetchConfig::default() }, Handle::current());
        let net = Arc::new(Net::new(&node, name_of, limits()));
        net.set_identity(&world.authority.identity(&node)?)?;
        let mount = Arc::new(Mount::new(net.clone(), DATASET, Spread::EveryNode));
        let reader = Reader { fetcher, cache, dataset, mount, direct: world.store.clone() };
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        let address = server.address()?;
        let server = tokio::spawn(server.run(net.clone(), Arc::new(reader.clone()), world.stop.clone()));
        Ok(Self { node, zone, net, reader, server, address })
    }

    /// As the others are told of it, with its zone or without.
    pub(crate) fn neighbour(&self, with_zone: bool) -> Neighbour {
        let zone = with_zone.then(|| self.zone.clone());
        Neighbour { node: self.node.clone(), zone, address: self.address, leaving: false, since: 1 }
    }
}

/// All agents share the processors, so that what takes long here says nothing of one of them. How long they wait for each other's copies is as in
/// the product: that is part of what is measured.
fn limits() -> Limits {
    let long = Duration::from_secs(600);
    Limits {
        connect: long,
        queue: long,
        first_byte: long,
        progress: long,
        whole: long,
        held: long,
        turn: long,
        handshake: long,
        stalled: long,
        ..Limits::default()
    }
}

impl Reader {
    /// Reads all of an object as an application does, and compares it with what it has to be.
    pub(crate) async fn read_all(&self, meta: &ObjectMeta, right: &[u8]) -> Result<()> {
        let file = self.fetcher.open(self.remote(PeerStore::new, meta));
        let mut buf = vec![0; PIECE];
        let mut at = 0;
        while at < right.len() {
            let came = match file.try_read(at as u64, &mut buf) {
                Some(len) => Bytes::copy_from_slice(&buf[..len]),
                None => file.read(at as u64, buf.len()).await?,
            };
            ensure!(!came.is_empty() && right[at..].starts_with(&came), "wrong bytes at {at}");
            at += came.len();
        }
        Ok(())
    }

    fn remote(&self, of: fn(Arc<Mount>, Arc<dyn UnderStore>, Priority) -> PeerStore, meta: &ObjectMeta) -> Remote {
        let store = |priority| Arc::new(of(self.mount.clone(), self.direct.clone(), priority));
        let ObjectMeta { key, size, version, .. } = meta.clone();
        let id = ObjectId::derive(self.direct.id().as_str(), &key, version.to_token().as_bytes(), size);
        let object = self.cache.object(self.dataset, id, size);
        let (reader, background) = (store(Priority::Reader), store(Priority::Prefetch));
        Remote { reader, background, key, version, object, landing: Landing::default(), label: "many".into() }
    }
}

#[async_trait]
impl Source for Reader {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let version = Version::parse(&asked.version).ok_or(Refusal::NotHere)?;
        let meta = ObjectMeta { key: asked.key.clone(), size: asked.size, mtime_ns: 0, version };
        let remote = self.remote(PeerStore::for_others, &meta);
        if asked.held && !remote.object.holds(&asked.range) {
            return Err(Refusal::NotHeld);
        }
        let class = (!asked.held).then_some(match asked.priority {
            Priority::Reader => Class::Reader,
            Priority::Prefetch => Class::Background,
        });
        let pieces = self.fetcher.stream(remote, class, asked.range.clone());
        Ok(pieces.map(|piece| piece.map_err(|error| Box::new(error) as BodyError)).boxed())
    }
}
