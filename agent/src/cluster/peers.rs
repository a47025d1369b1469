//! The other agents of the runtime: who they are, what they are asked before a store, and what they get from here.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use forebay_api::DatasetName;
use forebay_api::session::{AgentIdentity, PeerState, PeersChange};
use forebay_crds::dataset::DatasetSpec;
use forebay_dataset::{Dataset, Mount, Share, Stores};
use forebay_fetch::Class;
use forebay_peers::{
    Answer, Asked, AskedCatalog, CatalogAnswer, Limits, Mount as PeerMount, Neighbour, Net, PeerStore, Refusal, Source, Spread,
};
use forebay_store::policy::Priority;
use forebay_store::{StoreId, Version};
use tokio::sync::watch;

use super::hosted::Hosted;
use super::node::Node;

pub(super) mod catalogs;

/// How long an agent may be away, as while its pod is replaced, before others take over what it keeps.
const SETTLE: Duration = Duration::from_secs(20);
/// How much later than another agent this one may hear of a Dataset.
const HEARSAY: Duration = Duration::from_secs(3);

/// The agent on `node` among those of its runtime. It sends to all others together no more than `bandwidth` bytes a second.
pub(super) fn net(runtime: &str, node: &str, bandwidth: Option<u64>) -> Arc<Net> {
    let runtime = runtime.to_owned();
    let name_of = move |node: &str| match (runtime.parse(), node.parse()) {
        (Ok(runtime), Ok(node)) => AgentIdentity { runtime, node }.dns_name(),
        // No certificate has it.
        _ => String::new(),
    };
    Arc::new(Net::new(node, name_of, Limits { bandwidth, ..Limits::default() }))
}

/// Lets this agent be known to the others as it is to the operator.
pub(super) fn known_by(net: &Net, identity: &forebay_session::Identity) {
    let (certificate, key, authorities) = (identity.certificate.clone(), identity.key.clone(), identity.authorities.clone());
    if let Err(error) = net.set_identity(&forebay_peers::Identity { certificate, key, authorities }) {
        tracing::warn!(%error, "other agents are neither asked nor served");
    }
}

/// Who is there, as the operator says it. What it said last holds while it is away.
pub(super) struct Known {
    net: Arc<Net>,
    all: BTreeMap<String, Neighbour>,
}

impl Known {
    pub(super) fn new(net: Arc<Net>) -> Self {
        Self { net, all: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, PeersChange { anew, there, gone }: PeersChange) {
        if anew {
            self.all.clear();
        }
        for node in gone {
            self.all.remove(&node);
        }
        for PeerState { node, zone, address, leaving, since } in there {
            self.all.insert(node.clone(), Neighbour { node, zone, address, leaving, since });
        }
        self.net.set_neighbours(self.all.values().cloned());
        tracing::info!(others = self.net.len(), "the agents of this CacheRuntime have changed");
    }
}

/// How a Dataset is spread over nodes.
pub(super) fn spread(spec: &DatasetSpec) -> Spread {
    match spec.placement.copies() {
        None => Spread::EveryNode,
        Some(copies) => Spread::Sharded(usize::try_from(copies).unwrap_or(usize::MAX)),
    }
}

/// Puts the others before a mount's stores.
pub(super) fn ask_first(net: &Arc<Net>, dataset: &DatasetName, spread: Spread, mount: &mut Mount) {
    let of_mount = Arc::new(PeerMount::new(net.clone(), &dataset.to_string(), spread));
    let (reader, background) = (mount.reader.clone(), mount.background.clone());
    mount.reader = Arc::new(PeerStore::new(of_mount.clone(), reader.clone(), Priority::Reader));
    mount.background = Arc::new(PeerStore::new(of_mount.clone(), background.clone(), Priority::Prefetch));
    mount.for_peers = Some(Stores {
        reader: Arc::new(PeerStore::for_others(of_mount.clone(), reader, Priority::Reader)),
        background: Arc::new(PeerStore::for_others(of_mount, background, Priority::Prefetch)),
    });
}

/// What the others get: the Datasets of this agent, once there are any.
#[derive(Default)]
pub(super) struct Given(std::sync::OnceLock<Weak<Node>>);

impl Given {
    /// From now on what `node` serves is given.
    pub(super) fn begin(&self, node: &Arc<Node>) {
        let _ = self.0.set(Arc::downgrade(node));
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.0.get().and_then(Weak::upgrade)
    }

    /// The Dataset whose catalog is asked for, also if this agent is only about to hear of it, or of its new mounts.
    async fn with_tree(&self, asked: &AskedCatalog) -> Option<Dataset> {
        let arrived = Instant::now();
        loop {
            let hosted = self.node().and_then(|node| hosted(&node, &asked.dataset));
            if let Some(dataset) = hosted.and_then(|hosted| catalogs::with_tree(&hosted, &asked.tree)) {
                return Some(dataset);
            }
            if asked.held || arrived.elapsed() > HEARSAY {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The Dataset `namespace/name` on `node`.
fn hosted(node: &Node, name: &str) -> Option<Arc<Hosted>> {
    let (namespace, name) = name.split_once('/')?;
    node.table.get(&DatasetName::new(namespace, name))
}

#[async_trait]
impl Source for Given {
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let node = self.node().ok_or(Refusal::NotHere)?;
        let dataset = hosted(&node, &asked.dataset).and_then(|hosted| hosted.for_peers()).ok_or(Refusal::NotHere)?;
        let remote = dataset.object_for_peer(&asked.store, &asked.key, &asked.version, asked.size).ok_or(Refusal::NotHere)?;
        if asked.held && !remote.object.holds(&asked.range) {
            return Err(Refusal::NotHeld);
        }
        // What was held a moment ago is not brought in again for who only wants what is held.
        let class = (!asked.held).then_some(match asked.priority {
            Priority::Reader => Class::Reader,
            Priority::Prefetch => Class::Background,
        });
        Ok(node.stream(remote, class, asked.range.clone()))
    }

    async fn catalog(&self, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
        let dataset = self.with_tree(asked).await.ok_or(Refusal::NotHere)?;
        catalogs::give(&dataset, asked).await
    }
}

/// What of a Dataset this node keeps, where the nodes of a runtime keep it together.
#[derive(Debug)]
struct Kept {
    net: Arc<Net>,
    copies: usize,
}

impl Share for Kept {
    fn copies(&self) -> usize {
        self.copies
    }

    fn rank(&self, store: &StoreId, key: &str, version: &Version) -> Option<usize> {
        let (item, copies) = Spread::Sharded(self.copies).place(store, key, version, 0);
        self.net.rank(item, copies)
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    fn is_urgent(&self) -> bool {
        self.net.others_leave()
    }

    fn is_leaving(&self) -> bool {
        self.net.is_leaving()
    }

    fn members(&self) -> watch::Receiver<u64> {
        self.net.members()
    }
}

/// What of a Dataset that is so spread this node keeps; `None`: all.
pub(super) fn share(net: &Arc<Net>, spread: Spread) -> Option<Arc<dyn Share>> {
    match spread {
        Spread::EveryNode => None,
        Spread::Sharded(copies) => Some(Arc::new(Kept { net: net.clone(), copies: copies.max(1) })),
    }
}
