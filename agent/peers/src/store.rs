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
use tokio::time::{Instant, sleep};

use crate::Asked;
use crate::body;
use crate::net::Net;
use crate::peer::{Peer, PeerBody, PeerError};

/// Peers asked for one range that may have to bring it in first, at most.
const TRIES: usize = 2;

/// So often one peer may send this node on to others before it has to give itself.
const SENT_ON: u32 = 3;
/// After others had been named in vain, who may not have it in their caches yet; twice as long each time.
const NAMED_IN_VAIN: Duration = Duration::from_millis(50);

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
    /// For what this node wants, and for what others ask of it: who asks has nothing, and must not make this node think that nobody has.
    hopes: [Hope; 2],
}

/// Whether to ask others for what this node is to bring in. They have it when this node is new among them, and when all are new nobody has it:
/// then the store is asked at once.
#[derive(Debug, Default)]
struct Hope {
    in_vain: AtomicU32,
    /// When the last was in vain, in milliseconds of the net's clock.
    last: AtomicU64,
}

/// So many in a row in vain, and nobody is asked for a while.
const IN_VAIN: u32 = 16;
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
        Self { net, dataset: dataset.to_owned(), spread, tags_are_no_sums: AtomicBool::new(false), hopes: Default::default() }
    }
}

/// For whom a [`PeerStore`] brings data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// For this node: the owners are asked, and waited for.
    Own,
    /// For other nodes: what somebody holds already is taken from there, and nobody is waited for, so that agents never wait for each other in a
    /// circle.
    Others,
}

/// A store that asks other agents before the store itself. Listings and look-ups are the store's.
pub struct PeerStore {
    mount: Arc<Mount>,
    direct: Arc<dyn UnderStore>,
    priority: Priority,
    whom: For,
}

impl PeerStore {
    /// Before `direct`, for this node's calls of that priority: the agents on the nodes that own an object are asked first.
    pub fn new(mount: Arc<Mount>, direct: Arc<dyn UnderStore>, priority: Priority) -> Self {
        Self { mount, direct, priority, whom: For::Own }
    }

    /// Before `direct`, for what other agents ask of this one: others are asked only for what they hold.
    pub fn for_others(mount: Arc<Mount>, direct: Arc<dyn UnderStore>, priority: Priority) -> Self {
        Self { mount, direct, priority, whom: For::Others }
    }

    /// Whom to ask, and whether only for what they hold.
    fn to_ask(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> (Vec<Arc<Peer>>, bool) {
        let net = &self.mount.net;
        let (item, copies) = self.place(object, range);
        let owners = match self.whom {
            For::Own => net.to_ask(item, copies),
            For::Others => Vec::new(),
        };
        if owners.is_empty() {
            return (net.may_hold(item, copies, self.hope().allows(net.now())), true);
        }
        (owners, false)
    }

    fn place(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> (Item, usize) {
        self.mount.spread.place(self.direct.id(), object.key, object.version, range.start)
    }

    fn hope(&self) -> &Hope {
        let [own, others] = &self.mount.hopes;
        match self.whom {
            For::Own => own,
            For::Others => others,
        }
    }

    /// Asks a peer, and those that it names in its place.
    async fn ask(&self, peer: &Arc<Peer>, asked: &Asked, tally: &Arc<Tally>) -> Result<PeerBody, PeerError> {
        let net = &self.mount.net;
        for round in 0..SENT_ON {
            let named = match peer.get(net, asked).await {
                Err(PeerError::Elsewhere(named)) => named,
                answered => return answered,
            };
            let held = Asked { held: true, elsewhere: false, ..asked.clone() };
            if let Some(body) = self.held(net.named(&named), &held, tally).await {
                return Ok(body);
            }
            sleep(NAMED_IN_VAIN * 2u32.pow(round)).await;
        }
        peer.get(net, &Asked { elsewhere: false, ..asked.clone() }).await
    }

    /// Asks these one after the other for what they hold. Who waits for this node to bring it in for others waits no longer than
    /// [`crate::Limits::held`] for it.
    async fn held(&self, peers: Vec<Arc<Peer>>, asked: &Asked, tally: &Arc<Tally>) -> Option<PeerBody> {
        let net = &self.mount.net;
        let patience = match self.whom {
            For::Own => net.limits.held + net.limits.queue,
            For::Others => net.limits.held,
        };
        let until = Instant::now() + patience;
        for peer in peers {
            // Asked of the breakers one by one: a trial that is allowed must be made.
            if Instant::now() >= until || !peer.breaker().allows(net.now()) {
                continue;
            }
            tally.peer_get();
            match peer.held(net, asked, until).await {
                Ok(body) => return Some(body),
                Err(error) => tracing::debug!(peer = %peer.address(), key = asked.key, %error, "a peer does not give it"),
            }
        }
        None
    }

    /// Asks the owners, which are waited for.
    async fn owned(&self, peers: Vec<Arc<Peer>>, asked: &Asked, tally: &Arc<Tally>) -> Option<PeerBody> {
        let mut tries = 0;
        for peer in peers {
            if tries == TRIES || !peer.breaker().allows(self.mount.net.now()) {
                continue;
            }
            tries += 1;
            tally.peer_get();
            match self.ask(&peer, asked, tally).await {
                Ok(body) => return Some(body),
                Err(error) => tracing::debug!(peer = %peer.address(), key = asked.key, %error, "a peer did not serve"),
            }
        }
        None
    }

    /// What a peer gives, and the store to its end if the peer does not.
    fn relayed(&self, body: PeerBody, object: ObjectVersion<'_>, range: Range<u64>, tally: &Arc<Tally>) -> GetStream {
        let sum = self.sum(object, &range);
        let meta = ObjectMeta { key: object.key.to_owned(), size: object.size, mtime_ns: 0, version: object.version.clone() };
        let rest = body::Rest { direct: self.direct.clone(), meta: meta.clone(), range };
        let body = body::relayed(self.mount.net.clone(), body, sum, rest, tally.clone());
        GetStream { meta, checksum: sum.map(Checksum::Md5), body }
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
        let hoped = self.hope().allows(net.now());
        let (peers, held) = self.to_ask(object, &range);
        if !peers.is_empty() {
            let asked = Asked {
                dataset: self.mount.dataset.clone(),
                store: self.direct.id().as_str().to_owned(),
                key: object.key.to_owned(),
                version: object.version.to_token(),
                size: object.size,
                range: range.clone(),
                priority: self.priority,
                held,
                elsewhere: !held,
            };
            let given = match held {
                true => self.held(peers, &asked, tally).await,
                false => self.owned(peers, &asked, tally).await,
            };
            // Where only nodes that are leaving were asked, they say nothing of the others.
            if held && (hoped || given.is_some()) {
                self.hope().note(net.now(), given.is_some());
            }
            if let Some(body) = given {
                return Ok(self.relayed(body, object, range, tally));
            }
        }
        let got = self.direct.get_object(object, range.clone(), tally).await?;
        self.learn(object, &range, &got);
        Ok(got)
    }

    fn may_wait_for_peers(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> bool {
        // Not what this node is the owner of, though it may ask for that too: those who wait for it as the owner wait for this very memory.
        let (item, copies) = self.place(object, range);
        self.whom == For::Own && !self.mount.net.to_ask(item, copies).is_empty()
    }
}
