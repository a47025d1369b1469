use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forebay_cache::{Cache, DatasetId, DatasetPolicy, Landing, ObjectId};
use forebay_catalog::Entry;
use forebay_fetch::{Fetcher, Remote};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, OwnedMutexGuard, watch};

use crate::ahead::Ahead;
use crate::failures::Failures;
use crate::generation::Generation;
use crate::generations::Generations;
use crate::opens::Opens;
use crate::overrides::Override;
use crate::progress::Progress;
use crate::wishes::Wishes;
use crate::{Catalogs, Mount, Settings, Share, Stores, catalogs};

/// What a Dataset is made of.
pub struct DatasetParts {
    /// Its wishes.
    pub settings: Settings,
    /// Its stores, in the order of the manifest.
    pub mounts: Vec<Mount>,
    /// The node's cache.
    pub cache: Cache,
    /// The way into the cache.
    pub fetcher: Fetcher,
    /// A directory of its own, for its catalogs.
    pub state_dir: PathBuf,
    /// What of it this node keeps; `None`: all.
    pub share: Option<Arc<dyn Share>>,
    /// The other nodes, whose catalogs save a listing; `None`: each tree is listed here.
    pub catalogs: Option<Arc<dyn Catalogs>>,
}

/// One Dataset on this node. Cheap to clone.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) mounts: Vec<Mount>,
    labels: Vec<Arc<str>>,
    pub(crate) share: Option<Arc<dyn Share>>,
    pub(crate) catalogs: Option<Arc<dyn Catalogs>>,
    /// Stands for the mounts.
    pub(crate) tree: String,
    pub(crate) cache: Cache,
    pub(crate) cache_id: DatasetId,
    pub(crate) fetcher: Fetcher,
    pub(crate) generations: Generations,
    pub(crate) opens: Opens,
    pub(crate) ahead: Ahead,
    pub(crate) prefetch: Progress,
    /// Bytes that the prefetch under way may bring in.
    pub(crate) room: AtomicU64,
    /// Bytes that the pass under way is to pin.
    pub(crate) to_pin: AtomicU64,
    /// Files that prefetch could not bring in.
    pub(crate) not_fetched: Failures,
    /// Reads that failed.
    pub(crate) failed_reads: Failures,
    /// Objects seen by the listing under way.
    pub(crate) listed: AtomicU64,
    /// Who asked for a new listing.
    pub(crate) wishes: Wishes,
    /// A reader met an object that is not what the catalog says.
    pub(crate) stale: Notify,
    /// A handle of an earlier generation was released.
    pub(crate) released: Notify,
    /// Bytes read through the mount since the start, and those of them that no store had to be asked for.
    pub(crate) read_bytes: AtomicU64,
    pub(crate) hit_bytes: AtomicU64,
    /// Since when each condition has its status.
    pub(crate) condition_times: Mutex<BTreeMap<&'static str, (bool, Timestamp)>>,
    /// Whether pinned files that are complete are published.
    pub(crate) publishes: AtomicBool,
    pub(crate) passes: watch::Sender<u64>,
    /// Held while a catalog is written, also by a thread whose caller has gone.
    pub(crate) writing: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    current: watch::Sender<u64>,
    pub(crate) started: Instant,
}

/// The right to write a catalog into the Dataset's directory. It ends with the last clone.
pub(crate) type Writing = Arc<OwnedMutexGuard<()>>;

/// What the life is doing, for the status.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) listing: bool,
    /// Why the last listing failed, until one succeeds.
    pub(crate) listing_failure: Option<ListingFailure>,
    pub(crate) filling: Filling,
    /// Among which others this node's share has been in, as far as it fits, and since when. A new listing changes nothing about it.
    pub(crate) share_in: Option<(u64, Instant)>,
}

/// A failed listing, as the status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListingFailure {
    /// A condition's reason.
    pub(crate) reason: &'static str,
    /// The mount whose store failed; `None`: the fault lies on this node.
    pub(crate) mount: Option<String>,
    pub(crate) message: String,
}

/// Prefetch and pin of the current generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Nothing is wanted, or nothing is listed yet.
    #[default]
    Idle,
    /// Under way.
    Running,
    /// All that was wanted is in.
    Complete,
    /// What fits is in: why the rest is not.
    DoesNotFit(String),
    /// Some files failed; they are tried again.
    Retrying,
    /// Nodes that keep the data have come or gone. What this node is to keep now comes when it is clear that they do not come back.
    Moving,
}

impl Dataset {
    /// Takes up what a former process left in the state directory. Lists nothing: that is [`Dataset::run`]'s.
    pub fn open(parts: DatasetParts) -> io::Result<Self> {
        let DatasetParts { settings, mounts, cache, fetcher, state_dir, share, catalogs } = parts;
        let landing_tier = settings.prefetch.tier.clone();
        let policy = DatasetPolicy { quota: settings.quota, ttl: settings.ttl, landing_tier, ..DatasetPolicy::default() };
        let cache_id = cache.set_dataset(&settings.name, policy);
        let specs: Vec<_> = mounts.iter().map(Mount::spec).collect();
        let generations = Generations::open(state_dir, &specs)?;
        let number = generations.current().map_or(0, |current| u64::from(current.number));
        let labels = mounts.iter().map(|mount| format!("dataset {}, mount {}", settings.name, mount.path).into()).collect();
        let tree = catalogs::tree_of(&settings.name, &specs);
        let inner = Inner {
            settings,
            mounts,
            labels,
            share,
            catalogs,
            tree,
            cache,
            cache_id,
            fetcher,
            generations,
            opens: Opens::default(),
            ahead: Ahead::default(),
            prefetch: Progress::default(),
            room: AtomicU64::new(u64::MAX),
            to_pin: AtomicU64::new(0),
            not_fetched: Failures::default(),
            failed_reads: Failures::default(),
            listed: AtomicU64::new(0),
            wishes: Wishes::default(),
            stale: Notify::new(),
            released: Notify::new(),
            publishes: AtomicBool::new(false),
            passes: watch::Sender::new(0),
            writing: Arc::default(),
            read_bytes: AtomicU64::new(0),
            hit_bytes: AtomicU64::new(0),
            condition_times: Mutex::default(),
            state: Mutex::default(),
            current: watch::Sender::new(number),
            started: Instant::now(),
        };
        inner.expect_fill();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// `namespace/name`.
    pub fn name(&self) -> &str {
        &self.inner.settings.name
    }

    /// Asks for a new listing now; the number of this wish. One that is under way may have missed what is wished to be seen: it does not
    /// count. Of one with a name other nodes hear as well: what one of them listed for it answers it here too.
    pub fn refresh(&self, name: Option<String>) -> u64 {
        self.inner.wishes.make(name)
    }

    /// The catalog that a former process left was made for the wish `name`, or after it.
    pub fn was_refreshed(&self, name: String) {
        self.inner.wishes.was_answered(name);
    }

    /// The newest wish that the current generation, or one before it, was listed for.
    pub fn refreshed(&self) -> u64 {
        self.inner.wishes.last_answered()
    }

    /// The current generation's number, 0 before the first; changes when a new one is served.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.inner.current.subscribe()
    }

    /// Objects that the listing under way has seen; `None` when none is under way.
    pub fn listing(&self) -> Option<u64> {
        let listing = self.inner.state().listing;
        listing.then(|| self.inner.listed.load(Ordering::Relaxed))
    }

    /// The version `token` of an object of `size` bytes below the root of the store `store`, as it is brought in for another node, without
    /// waiting for a third. `None`: no mount has such a store, or there is no such token. Whether the object exists nobody is asked.
    pub fn object_for_peer(&self, store: &str, key: &str, token: &str, size: u64) -> Option<Remote> {
        let inner = &self.inner;
        let index = inner.mounts.iter().position(|mount| mount.reader.id().as_str() == store)?;
        let mount = inner.mounts.get(index)?;
        let stores = mount.for_peers.clone().unwrap_or_else(|| mount.stores());
        inner.remote_of(index, stores, key.to_owned(), token, size)
    }

    /// Files open now, each version counted once.
    pub fn open_files(&self) -> usize {
        self.inner.opens.len()
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dataset").field(&self.inner.settings.name).finish()
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn announce(&self, generation: &Generation) {
        self.current.send_replace(u64::from(generation.number));
    }

    /// The object behind a catalog's file, as listed or as `newer` found it.
    pub(crate) fn remote(&self, entry: &Entry<'_>, newer: Option<&Override>) -> Option<Remote> {
        let index = usize::from(entry.mount());
        let mount = self.mounts.get(index)?;
        let key = entry.key().into_owned();
        let (token, size) = match newer {
            Some(newer) => (Cow::Borrowed(newer.version.as_str()), newer.size),
            None => (entry.version(), entry.size()),
        };
        self.remote_of(index, mount.stores(), key, &token, size)
    }

    /// The version `token` of an object of mount `index`, brought in from these stores.
    fn remote_of(&self, index: usize, stores: Stores, key: String, token: &str, size: u64) -> Option<Remote> {
        let Stores { reader, background } = stores;
        let id = ObjectId::derive(reader.id().as_str(), &key, token.as_bytes(), size);
        let mut remote = Remote {
            reader,
            background,
            version: forebay_store::Version::parse(token)?,
            object: self.cache.object(self.cache_id, id, size),
            key,
            landing: Landing::default(),
            label: self.labels.get(index)?.clone(),
        };
        // What the first keeper of an object holds counts most: a tier that has no room for all copies of everything keeps one of each.
        remote.landing.guest = self.rank(&remote) != Some(0);
        Some(remote)
    }

    /// Which of the object's keepers this node is; see [`Share::rank`].
    pub(crate) fn rank(&self, remote: &Remote) -> Option<usize> {
        self.share.as_ref().map_or(Some(0), |share| share.rank(remote.reader.id(), &remote.key, &remote.version))
    }
}
