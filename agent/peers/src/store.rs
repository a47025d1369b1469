//! A store with the other agents before it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use forebay_placement::Item;
use forebay_store::policy::Priority;
use forebay_store::s3::md5;
use forebay_store::{
    Checksum, GetStream, ListPage, ListRequest, ObjectMeta, ObjectVersion, StoreId, StoreResult, Tally, UnderStore, Version,
};

use crate::Asked;
use crate::body;
use crate::net::Net;
use crate::peer::Peer;

/// Peers asked for one range, at most.
const TRIES: usize = 2;

/// How a Dataset's data is spread over the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Every node keeps what it reads. Who brings a piece in from the store is decided for each extent of a file.
    EveryNode,
    /// Each file is kept by so many nodes.
    Sharded(usize),
}

impl Spread {
    /// What is placed for the byte at `offset` of an object, and how many nodes own it.
    pub fn place(self, store: &StoreId, key: &str, version: &Version, offset: u64) -> (Item, usize) {
        let object = Item::object(store.as_str(), key, &version.to_token());
        match self {
            Self::EveryNode => (object.extent_at(offset), 1),
            Self::Sharded(copies) => (object, copies.max(1)),
        }
    }
}

/// What all stores of one mount share.
#[derive(Debug)]
pub struct Mount {
    net: Arc<Net>,
    dataset: String,
    spread: Spread,
    /// Entity tags of this store that look like MD5 sums are none.
    tags_are_no_sums: AtomicBool,
    hope: Hope,
}

/// Whether to ask others for what this node is the first to bring in. They have it when this node is new among them, and when all are new nobody
/// has it: then the store is asked at once.
#[derive(Debug, Default)]
struct Hope {
    in_vain: AtomicU32,
    /// When the last was in vain, in milliseconds of the net's clock.
    last: AtomicU64,
}

/// So many in a row in vain, and nobody is asked for a while.
const IN_VAIN: u32 = 8;
/// For so long.
const PAUSE: Duration = Duration::from_secs(10);

impl Hope {
    fn allows(&self, now: Duration) -> bool {
        let since = now.saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
        self.in_vain.load(Ordering::Relaxed) < IN_VAIN || since >= PAUSE
    }

    fn note(&self, now: Duration, held: bool) {
        if held {
            self.in_vain.store(0, Ordering::Relaxed);
        } else {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
            self.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

impl Mount {
    /// A mount of the Dataset `namespace/name`.
    pub fn new(net: Arc<Net>, dataset: &str, spread: Spread) -> Self {
        Self { net, dataset: dataset.to_owned(), spread, tags_are_no_sums: AtomicBool::new(false), hope: Hope::default() }
    }
}

/// A store that asks the agents on the nodes that own an object before the store itself. Listings and look-ups are the store's.
pub struct PeerStore {
    mount: Arc<Mount>,
    direct: Arc<dyn UnderStore>,
    priority: Priority,
}

impl PeerStore {
    /// Before `direct`, for calls of that priority.
    pub fn new(mount: Arc<Mount>, direct: Arc<dyn UnderStore>, priority: Priority) -> Self {
        Self { mount, direct, priority }
    }

    /// Whom to ask, and whether only for what they hold.
    fn to_ask(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> (Vec<Arc<Peer>>, bool) {
        let Mount { net, spread, hope, .. } = &*self.mount;
        if net.is_empty() {
            return (Vec::new(), false);
        }
        let (item, copies) = spread.place(self.direct.id(), object.key, object.version, range.start);
        let owners = net.to_ask(item, copies);
        if owners.is_empty() {
            return (net.behind(item, copies, hope.allows(net.now())), true);
        }
        (owners, false)
    }

    /// The sum that the whole object must have, if its version is one.
    fn sum(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> Option<[u8; 16]> {
        let whole = *range == (0..object.size);
        let trusted = whole && !self.mount.tags_are_no_sums.load(Ordering::Relaxed);
        match object.version {
            Version::ETag(tag) if trusted => md5(tag),
            _ => None,
        }
    }

    /// Notes what the store's own answer says about its entity tags.
    fn learn(&self, object: ObjectVersion<'_>, range: &Range<u64>, got: &GetStream) {
        let is_sum = got.checksum.is_some();
        if !is_sum && self.sum(object, range).is_some() && !self.mount.tags_are_no_sums.swap(true, Ordering::Relaxed) {
            tracing::info!(store = %self.direct.id(), "entity tags are no checksums here; what peers give is not compared with them");
            self.mount.net.forgive_all();
        }
    }
}

impl fmt::Debug for PeerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStore").field("direct", &self.direct).field("priority", &self.priority).finish_non_exhaustive()
    }
}

#[async_trait]
impl UnderStore for PeerStore {
    fn id(&self) -> &StoreId {
        self.direct.id()
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        self.direct.list(request).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        self.direct.head(key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        self.direct.get(key, version, range).await
    }

    async fn get_object(&self, object: ObjectVersion<'_>, range: Range<u64>, tally: &Arc<Tally>) -> StoreResult<GetStream> {
        let net = &self.mount.net;
        let (peers, held) = self.to_ask(object, &range);
        // Asked of the breakers one by one: a trial that is allowed must be made.
        let mut tries = 0;
        for peer in peers {
            if tries == TRIES || !peer.breaker().allows(net.now()) {
                continue;
            }
            tries += 1;
            tally.peer_get();
            let asked = Asked {
                dataset: self.mount.dataset.clone(),
                store: self.direct.id().as_str().to_owned(),
                key: object.key.to_owned(),
                version: object.version.to_token(),
                size: object.size,
                range: range.clone(),
                priority: self.priority,
                held,
            };
            match peer.get(net, &asked).await {
                Ok(body) => {
                    if held {
                        self.mount.hope.note(net.now(), true);
                    }
                    let sum = self.sum(object, &range);
                    let meta = ObjectMeta { key: asked.key, size: object.size, mtime_ns: 0, version: object.version.clone() };
                    let rest = body::Rest { direct: self.direct.clone(), meta: meta.clone(), range };
                    let body = body::relayed(net.clone(), body, sum, rest, tally.clone());
                    return Ok(GetStream { meta, checksum: sum.map(Checksum::Md5), body });
                }
                Err(error) => {
                    tracing::debug!(peer = %peer.address(), key = object.key, %error, "a peer did not serve");
                }
            }
        }
        if held && tries > 0 {
            self.mount.hope.note(net.now(), false);
        }
        let got = self.direct.get_object(object, range.clone(), tally).await?;
        self.learn(object, &range, &got);
        Ok(got)
    }

    fn may_wait_for_peers(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> bool {
        let (peers, held) = self.to_ask(object, range);
        !peers.is_empty() && !held
    }
}
