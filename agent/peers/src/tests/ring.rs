//! Agents in one process, each with a cache, a fetcher and a listener of its own, over one store that counts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_cache::{BLOCK, Cache, CacheConfig, DatasetId, DatasetPolicy, Landing, Medium, ObjectId, TierConfig};
use forebay_fetch::{Class, FetchConfig, Fetcher, Remote};
use forebay_store::failing::FailingStore;
use forebay_store::policy::Priority;
use forebay_store::{
    Checksum, GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};
use futures::{StreamExt as _, stream};
use md5::{Digest as _, Md5};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::serve::BodyError;
use crate::{Answer, Asked, Identity, Limits, Mount, Neighbour, Net, Patience, PeerStore, Refusal, Server, Source, Spread};

/// Long enough for any machine; a test that gets here hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);
pub(super) const DATASET: &str = "ml/data";

/// A store whose versions are MD5 sums, as plain S3's are.
#[derive(Debug)]
pub(super) struct Sums {
    id: StoreId,
    objects: Mutex<HashMap<String, (Bytes, [u8; 16])>>,
    /// Versions that are no sums, by key.
    tags: Mutex<HashMap<String, Version>>,
    /// Whether it says that they are.
    pub(super) says: bool,
}

impl Sums {
    pub(super) fn put(&self, key: &str, size: u64) -> (ObjectMeta, Bytes) {
        let mut seed = key.bytes().fold(size | 1, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let words = (0..size.div_ceil(8)).flat_map(|_| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed.to_le_bytes()
        });
        let bytes: Bytes = words.take(size as usize).collect::<Vec<u8>>().into();
        let sum = Md5::digest(&bytes).into();
        self.objects.lock().unwrap().insert(key.to_owned(), (bytes.clone(), sum));
        (self.meta(key, &bytes, sum), bytes)
    }

    pub(super) fn bytes(&self, key: &str) -> Bytes {
        self.objects.lock().unwrap()[key].0.clone()
    }

    /// Gives the object a version that looks like a sum and is none.
    pub(super) fn retag(&self, meta: &mut ObjectMeta, n: u64) {
        meta.version = Version::ETag(format!("\"{n:032x}\"").into());
        self.tags.lock().unwrap().insert(meta.key.clone(), meta.version.clone());
    }

    fn meta(&self, key: &str, bytes: &[u8], sum: [u8; 16]) -> ObjectMeta {
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let sum = Version::ETag(format!("\"{hex}\"").into());
        let version = self.tags.lock().unwrap().get(key).cloned().unwrap_or(sum);
        ObjectMeta { key: key.to_owned(), size: bytes.len() as u64, mtime_ns: 0, version }
    }
}

#[async_trait]
impl UnderStore for Sums {
    fn id(&self) -> &StoreId {
        &self.id
    }
    async fn list(&self, _: ListRequest) -> StoreResult<ListPage> {
        Ok(ListPage::default())
    }
    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        let bytes = self.objects.lock().unwrap().get(key).cloned();
        bytes
            .map(|(bytes, sum)| self.meta(key, &bytes, sum))
            .ok_or_else(|| StoreError::new(&self.id, "head", key, StoreErrorKind::NotFound))
    }
    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        let meta = self.head(key).await?;
        if meta.version != *version {
            let kind = StoreErrorKind::Changed { expected: version.clone(), found: meta.version.to_string() };
            return Err(StoreError::new(&self.id, "get", key, kind));
        }
        let (all, sum) = self.objects.lock().unwrap()[key].clone();
        let bytes = all.slice(range.start as usize..range.end as usize);
        let checksum = self.says.then_some(Checksum::Md5(sum));
        let chunks: Vec<_> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        // As a network does: each piece a moment after the other, so that others can come meanwhile.
        let body = stream::iter(chunks).then(|chunk| async {
            tokio::task::yield_now().await;
            chunk
        });
        Ok(GetStream { meta, checksum, body: body.boxed() })
    }
}

/// The authority of a runtime's agents.
pub(super) struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { certificate, key: key.serialize_pem(), authorities: self.1.clone() }
    }
}

pub(super) fn name_of(node: &str) -> String {
    format!("{node}.runtime-r.agents.test")
}

/// One agent.
pub(super) struct Agent {
    pub(super) node: String,
    pub(super) net: Arc<Net>,
    pub(super) cache: Cache,
    pub(super) fetcher: Fetcher,
    id: DatasetId,
    direct: Arc<FailingStore>,
    mount: Arc<Mount>,
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    pub(super) task: Option<tokio::task::JoinHandle<()>>,
    dir: tempfile::TempDir,
    /// Since when it may have data.
    pub(super) since: u64,
    /// Its node's zone, as all are told it.
    pub(super) zone: Option<String>,
    /// Bodies that it began to give to others.
    pub(super) given: Arc<AtomicUsize>,
}

/// What an agent's server answers from.
struct Own {
    fetcher: Fetcher,
    cache: Cache,
    id: DatasetId,
    direct: Arc<FailingStore>,
    mount: Arc<Mount>,
    given: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Own {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        if asked.dataset != DATASET || asked.store != self.direct.id().as_str() {
            return Err(Refusal::NotHere);
        }
        let version = Version::parse(&asked.version).ok_or(Refusal::NotHere)?;
        let meta = ObjectMeta { key: asked.key.clone(), size: asked.size, mtime_ns: 0, version };
        let store = |priority| Arc::new(PeerStore::for_others(self.mount.clone(), self.direct.clone(), priority));
        let remote = remote(&self.cache, self.id, store(Priority::Reader), store(Priority::Prefetch), &meta);
        if asked.held && !remote.object.holds(&asked.range) {
            return Err(Refusal::NotHeld);
        }
        let class = if asked.priority == Priority::Prefetch { Class::Background } else { Class::Reader };
        let class = (!asked.held).then_some(class);
        let pieces = self.fetcher.stream(remote, class, asked.range.clone());
        let (given, mut begins) = (self.given.clone(), true);
        let pieces = pieces.inspect(move |_| {
            given.fetch_add(usize::from(std::mem::take(&mut begins)), Ordering::Relaxed);
        });
        Ok(pieces.map(|piece| piece.map_err(|error| Box::new(error) as BodyError)).boxed())
    }
}

fn remote(
    cache: &Cache,
    id: DatasetId,
    reader: Arc<dyn UnderStore>,
    background: Arc<dyn UnderStore>,
    meta: &ObjectMeta,
) -> Remote {
    let ObjectMeta { key, size, version, .. } = meta.clone();
    let object = ObjectId::derive(reader.id().as_str(), &key, version.to_token().as_bytes(), size);
    let object = cache.object(id, object, size);
    Remote { reader, background, key, version, object, landing: Landing::default(), label: "test".into() }
}

impl Agent {
    async fn start(node: &str, store: &Arc<FailingStore>, limits: Limits, spread: Spread, blocks: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tier = TierConfig {
            name: "ssd".into(),
            medium: Medium::Disk,
            dir: dir.path().join("tier"),
            capacity: blocks * BLOCK,
            reserve: 0,
        };
        let cache = Cache::open(CacheConfig::new(vec![tier], dir.path().join("index"))).unwrap();
        let id = cache.set_dataset(DATASET, DatasetPolicy::default());
        let fetcher = Fetcher::new(FetchConfig::default(), Handle::current());
        let net = Arc::new(Net::new(node, name_of, limits));
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        let stop = CancellationToken::new();
        let mount = Arc::new(Mount::new(net.clone(), DATASET, spread));
        let given = Arc::<AtomicUsize>::default();
        let own = Own {
            fetcher: fetcher.clone(),
            cache: cache.clone(),
            id,
            direct: store.clone(),
            mount: mount.clone(),
            given: given.clone(),
        };
        let task = Some(tokio::spawn(server.run(net.clone(), Arc::new(own), stop.clone())));
        Self {
            node: node.into(),
            net,
            cache,
            fetcher,
            id,
            direct: store.clone(),
            mount,
            address,
            stop,
            task,
            dir,
            since: 1,
            zone: None,
            given,
        }
    }

    /// The store with the others before it.
    pub(super) fn store(&self, priority: Priority) -> Arc<dyn UnderStore> {
        Arc::new(PeerStore::new(self.mount.clone(), self.direct.clone(), priority))
    }

    pub(super) fn remote(&self, meta: &ObjectMeta) -> Remote {
        remote(&self.cache, self.id, self.store(Priority::Reader), self.store(Priority::Prefetch), meta)
    }

    /// Reads all of an object as an application does, in pieces.
    pub(super) async fn read(&self, meta: &ObjectMeta) -> Result<Vec<u8>, forebay_fetch::FetchError> {
        let file = self.fetcher.open(self.remote(meta));
        let mut all = Vec::new();
        while (all.len() as u64) < meta.size {
            let mut buf = vec![0; 300_000];
            match file.try_read(all.len() as u64, &mut buf) {
                Some(len) => all.extend_from_slice(&buf[..len]),
                None => all.extend_from_slice(&file.read(all.len() as u64, buf.len()).await?),
            }
        }
        Ok(all)
    }

    /// Writes over the middle of every file of its tier, as a disk does that lies. How many.
    pub(super) fn damage(&self) -> usize {
        let files = walk(&self.dir.path().join("tier/objects"));
        for path in &files {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(b"these are not the bytes", file.metadata().unwrap().len() / 2).unwrap();
        }
        files.len()
    }

    /// Waits until what it has read is in its cache.
    pub(super) async fn landed(&self) {
        while self.fetcher.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends its server, in the middle of whatever it does.
    pub(super) async fn kill(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// So that a machine that stands still for a moment makes no peer a failed one, nor one that is not worth waiting for.
pub(super) fn patient() -> Limits {
    let long = DEADLINE;
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
        patience: Patience { elsewhere: long, mate: long, still: long },
        ..Limits::default()
    }
}

/// Several agents that know each other.
pub(super) struct Ring {
    pub(super) sums: Arc<Sums>,
    pub(super) store: Arc<FailingStore>,
    pub(super) authority: Authority,
    pub(super) agents: Vec<Agent>,
}

impl Ring {
    pub(super) async fn new(nodes: usize) -> Self {
        Self::with(nodes, patient(), Spread::EveryNode, 256).await
    }

    pub(super) async fn with(nodes: usize, limits: Limits, spread: Spread, blocks: u64) -> Self {
        Self::over(
            Sums { id: StoreId::new("s3://test/data"), objects: Mutex::default(), tags: Mutex::default(), says: true },
            nodes,
            limits,
            spread,
            blocks,
        )
        .await
    }

    /// Over a store whose entity tags look like sums and are none.
    pub(super) async fn without_sums(nodes: usize) -> Self {
        let sums = Sums { id: StoreId::new("s3://test/data"), objects: Mutex::default(), tags: Mutex::default(), says: false };
        Self::over(sums, nodes, patient(), Spread::EveryNode, 256).await
    }

    async fn over(sums: Sums, nodes: usize, limits: Limits, spread: Spread, blocks: u64) -> Self {
        let sums = Arc::new(sums);
        let store = Arc::new(FailingStore::new(sums.clone()));
        let authority = Authority::new();
        let mut agents = Vec::new();
        for n in 1..=nodes {
            let agent = Agent::start(&format!("n{n}"), &store, limits.clone(), spread, blocks).await;
            agent.net.set_identity(&authority.identity(&name_of(&agent.node))).unwrap();
            agents.push(agent);
        }
        let ring = Self { sums, store, authority, agents };
        ring.introduce();
        ring
    }

    /// One more agent that knows all and is known to all.
    pub(super) async fn join(&mut self, spread: Spread) {
        let node = format!("n{}", self.agents.len() + 1);
        let mut agent = Agent::start(&node, &self.store, patient(), spread, 256).await;
        agent.since = self.agents.len() as u64 + 1;
        agent.net.set_identity(&self.authority.identity(&name_of(&agent.node))).unwrap();
        self.agents.push(agent);
        self.introduce();
    }

    /// Tells every agent of all.
    pub(super) fn introduce(&self) {
        for agent in &self.agents {
            agent.net.set_neighbours(self.neighbours());
        }
    }

    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        let neighbour = |agent: &Agent| Neighbour {
            node: agent.node.clone(),
            zone: agent.zone.clone(),
            address: agent.address,
            leaving: false,
            since: agent.since,
        };
        self.agents.iter().map(neighbour).collect()
    }
}
