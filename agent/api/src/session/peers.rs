use std::net::SocketAddr;

use super::some;
use crate::{InvalidMessage, operator as wire};

/// An agent that serves the others of its runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Its node.
    pub node: String,
    /// The node's zone, where it is known.
    pub zone: Option<String>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Its node is about to go: it gives what it has, and keeps nothing for the others any more.
    pub leaving: bool,
    /// Since when it may have data, in seconds since 1970; 0: not known. By it an agent that is new among the others knows those
    /// that were there before it, whom it asks for what it is to own.
    pub since: u64,
}

/// What has changed of who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeersChange {
    /// Whether all that were named before are to be forgotten.
    pub anew: bool,
    /// Agents that are there, new or changed; the one that hears this may be among them.
    pub there: Vec<PeerState>,
    /// Nodes whose agents are not there any more.
    pub gone: Vec<String>,
}

impl From<PeersChange> for wire::Peers {
    fn from(PeersChange { anew, there, gone }: PeersChange) -> Self {
        let peer = |PeerState { node, zone, address, leaving, since }: PeerState| wire::Peer {
            node,
            zone: zone.unwrap_or_default(),
            address: address.to_string(),
            leaving,
            since,
        };
        Self { anew, there: there.into_iter().map(peer).collect(), gone }
    }
}

impl TryFrom<wire::Peers> for PeersChange {
    type Error = InvalidMessage;

    fn try_from(wire::Peers { anew, there, gone }: wire::Peers) -> Result<Self, InvalidMessage> {
        let peer = |wire::Peer { node, zone, address, leaving, since }: wire::Peer| {
            if node.is_empty() {
                return Err(InvalidMessage::missing("peers.there.node"));
            }
            let wrong = |error| InvalidMessage::new("peers.there.address", format!("{address:?} of node {node}: {error}"));
            let address = address.parse().map_err(wrong)?;
            Ok(PeerState { node, zone: some(zone), address, leaving, since })
        };
        Ok(Self { anew, there: there.into_iter().map(peer).collect::<Result<_, _>>()?, gone })
    }
}
