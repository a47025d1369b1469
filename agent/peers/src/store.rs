//! A store with the other agents before it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use forebay_placement::Item;
use forebay_store::policy::Priority;
use forebay_store::s3::md5;
use forebay_store::{
    Checksum, GetStream, ListPage, ListRequest, ObjectMeta, ObjectVersion, StoreId, StoreResult, Tally, UnderStore, Version,
};

use crate::body;
use crate::hope::Hopes;
use crate::net::Net;
use crate::peer::PeerBody;

pub(crate) mod asking;

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
    hopes: Hopes,
}

impl Mount {
    /// A mount of the Dataset `namespace/name`.
    pub fn new(net: Arc<Net>, dataset: &str, spread: Spread) -> Self {
        Self { net, dataset: dataset.to_owned(), spread, tags_are_no_sums: AtomicBool::new(false), hopes: Hopes::default() }
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

    fn place(&self, object: ObjectVersion<'_>, range: &Range<u64>) -> (Item, usize) {
        self.mount.spread.place(self.direct.id(), object.key, object.version, range.start)
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
        if let Some(body) = self.ask_peers(object, &range, tally).await {
            return Ok(self.relayed(body, object, range, tally));
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
