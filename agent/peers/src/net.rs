use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use forebay_placement::{Item, Member, Members};
use rustls::pki_types::ServerName;
use tokio::sync::watch;

use crate::peer::Peer;
use crate::tls::Tls;
use crate::{Identity, Limits, TlsError};

/// Copies of a catalog that the first of all counts on when it asks for one that others may have.
const CATALOGS: usize = 8;
/// Nodes that are asked for a piece that they may hold, at most.
pub(crate) const MAY_HOLD: usize = 8;
/// How many nodes stand in for owners that do not answer.
const SPARE: usize = 1;
/// Nodes of the own zone that are asked for what they may hold, at most.
const NEAR: usize = 2;

/// Another agent of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its node.
    pub node: String,
    /// The node's zone, where it is known.
    pub zone: Option<String>,
    /// Where it serves.
    pub address: SocketAddr,
    /// It is about to go, and keeps nothing for the others any more.
    pub leaving: bool,
    /// Since when it may have data, in seconds since 1970; 0: not known.
    pub since: u64,
}

/// The other agents, as this one knows them. Shared by everything that talks to them.
pub struct Net {
    node: String,
    name_of: Box<dyn Fn(&str) -> String + Send + Sync>,
    pub(crate) limits: Limits,
    pub(crate) tls: Tls,
    view: RwLock<Arc<View>>,
    members: watch::Sender<u64>,
    start: Instant,
}

#[derive(Default)]
struct View {
    members: Members,
    /// Those that stay have become others since some began to leave, and for no other reason.
    only_leave: bool,
    peers: BTreeMap<String, Arc<Peer>>,
}

impl View {
    fn peers_of<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> Vec<Arc<Peer>> {
        members.into_iter().filter_map(|member| self.peers.get(&member.node)).cloned().collect()
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Net {
    /// Of the agent on `node`, which knows nobody yet. `name_of`: the DNS name in the certificate of a node's agent.
    pub fn new(node: &str, name_of: impl Fn(&str) -> String + Send + Sync + 'static, limits: Limits) -> Self {
        let name_of = Box::new(name_of);
        let (members, start) = (watch::Sender::new(0), Instant::now());
        Self { node: node.to_owned(), name_of, limits, tls: Tls::default(), view: RwLock::default(), members, start }
    }

    /// This agent's node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Takes a new certificate for all connections from now on. Before the first nobody is asked nor served.
    ///
    /// # Errors
    /// [`TlsError`]: the former one stays.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), TlsError> {
        self.tls.set(identity)
    }

    /// The agents there are now, this one among them or not. Connections to those that stay are kept.
    pub fn set_neighbours(&self, neighbours: impl IntoIterator<Item = Neighbour>) {
        let neighbours: BTreeMap<String, Neighbour> = neighbours.into_iter().map(|one| (one.node.clone(), one)).collect();
        let member =
            |one: &Neighbour| Member { node: one.node.clone(), zone: one.zone.clone(), leaving: one.leaving, since: one.since };
        let unknown = || Member { node: self.node.clone(), zone: None, leaving: false, since: 0 };
        let own = neighbours.get(&self.node).map_or_else(unknown, member);
        let others = neighbours.values().filter(|one| one.node != self.node);
        let members = Members::new(others.clone().map(member).chain([own]));
        let connections = self.limits.each(neighbours.len());
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let peers = others.filter_map(|one| {
            let known = view.peers.get(&one.node).filter(|peer| peer.is_at(one.address, connections));
            let peer = match known {
                Some(peer) => peer.clone(),
                // A name that no certificate can have is of nobody who could be asked.
                None => Arc::new(Peer::new(one.address, ServerName::try_from((self.name_of)(&one.node)).ok()?, connections)),
            };
            Some((one.node.clone(), peer))
        });
        let peers = peers.collect();
        let fingerprint = members.fingerprint();
        let moves = fingerprint != view.members.fingerprint();
        let only_leave = if moves { members.only_leave_since(&view.members) } else { view.only_leave };
        *view = Arc::new(View { members, only_leave, peers });
        drop(view);
        self.members.send_if_modified(|before| std::mem::replace(before, fingerprint) != fingerprint);
    }

    /// Stands for the agents there are, this one included: another number when others are there, 0 before they are known.
    pub fn members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }

    /// Whether the agents that stay are others since some are about to go, and not since one went that may be back in a moment, while this one
    /// stays.
    pub fn others_leave(&self) -> bool {
        let view = self.view();
        view.only_leave && !view.members.is_leaving(&self.node)
    }

    /// Whether this agent is about to go.
    pub fn is_leaving(&self) -> bool {
        self.view().members.is_leaving(&self.node)
    }

    /// How many others there are.
    pub fn len(&self) -> usize {
        self.view().peers.len()
    }

    /// Whether there is no other.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which of the `copies` owners of `item` this node is, the first one 0; `None`: none of them, or nobody is known yet.
    pub fn rank(&self, item: Item, copies: usize) -> Option<usize> {
        self.view().members.rank(&self.node, item, copies)
    }

    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whom to ask for `item`, in order; those that failed lately are left out.
    pub(crate) fn to_ask(&self, item: Item, copies: usize) -> Vec<Arc<Peer>> {
        let view = self.view();
        if view.peers.is_empty() {
            return Vec::new();
        }
        let asked = view.members.to_ask(&self.node, item, copies, SPARE);
        view.peers_of(asked)
    }

    /// Who may hold what this node has to bring in, the likeliest first; without `hope` only nodes that are leaving and kept it until then.
    pub(crate) fn may_hold(&self, item: Item, copies: usize, hope: bool) -> Vec<Arc<Peer>> {
        let view = self.view();
        if view.peers.is_empty() || (!hope && !view.members.any_leaves()) {
            return Vec::new();
        }
        let mut may_hold = view.members.may_hold(&self.node, item, copies);
        may_hold.retain(|member| hope || member.leaving);
        // Not the oldest, which are the ones that were there before all that came together.
        let most = MAY_HOLD.max(copies + MAY_HOLD / 2);
        if may_hold.len() > most {
            may_hold.drain(most - MAY_HOLD / 2..may_hold.len() - MAY_HOLD / 2);
        }
        view.peers_of(may_hold)
    }

    /// Who of this node's zone may hold what its one owner, which is of another, would be asked for.
    pub(crate) fn near(&self, item: Item) -> Vec<Arc<Peer>> {
        let view = self.view();
        view.peers_of(view.members.near(&self.node, item, NEAR))
    }

    /// The zone of `node`, where it is known to be another than this node's.
    pub(crate) fn other_zone(&self, node: &str) -> Option<String> {
        let view = self.view();
        let (own, other) = (view.members.zone(&self.node)?, view.members.zone(node)?);
        (own != other).then(|| other.to_owned())
    }

    /// Bytes that each of the others has given to this agent for as long as it was known by the same address. For tests and examples.
    pub fn given(&self) -> BTreeMap<String, u64> {
        self.view().peers.iter().map(|(node, peer)| (node.clone(), peer.given())).collect()
    }

    /// Those of these nodes that are there.
    pub(crate) fn named(&self, nodes: &[String]) -> Vec<Arc<Peer>> {
        let view = self.view();
        nodes.iter().filter_map(|node| view.peers.get(node)).cloned().collect()
    }

    /// Whom to ask for a Dataset's catalog, in order, and whether only for one that they have.
    pub(crate) fn to_ask_for_catalog(&self, dataset: &str) -> (Vec<Arc<Peer>>, bool) {
        let item = Item::catalog(dataset);
        let view = self.view();
        let above = view.members.above(&self.node, item);
        if above.is_empty() {
            return (self.may_hold(item, CATALOGS, true), true);
        }
        (view.peers_of(above), false)
    }

    /// The DNS name in the certificate of the agent on `node`.
    pub(crate) fn name_of(&self, node: &str) -> String {
        (self.name_of)(node)
    }

    /// Since the start, for breakers.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn forgive_all(&self) {
        for peer in self.view().peers.values() {
            peer.breaker().forgive();
        }
    }
}
