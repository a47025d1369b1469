//! Agents that give each other data, so that what many nodes read leaves the store about once.
//!
//! [`PeerStore`] stands before a mount's store: it asks the nodes that own the data ([`forebay_placement`]) and the store for whatever they
//! do not give. [`Server`] answers such requests through its own agent's fetcher, which brings in once what many ask for and passes it on
//! while it arrives. For what a peer asks, a third node is asked only for what it holds, and never waited for. Where many want the same piece at
//! once, the first few get it from its owner and the others from those. Where zones are known, of each other zone one gets it from its owner and
//! the others of that zone from it; later ones ask those of their own zone first that would own it there.
//!
//! The words are HTTP/1.1 range GETs over mutual TLS ([`Asked`]). Agents prove to each other that they are of the same runtime, and on the
//! node that they are asked for ([`Identity`]).
//!
//! Catalogs go from node to node too, along a tree ([`Net::catalog`]): each node asks the one above it, and the first lists the stores.
//!
//! A peer that is slow, dead, full or wrong costs a bounded delay ([`Limits`]) and is left alone for a while after; a read that the store
//! can serve never fails for it.

mod ask;
mod body;
mod breaker;
mod catalog;
mod fanout;
mod hope;
mod limits;
mod net;
mod peer;
mod pool;
mod serve;
mod server;
mod store;
mod throttle;
mod tls;
mod unsent;

pub use ask::{Asked, AskedCatalog, NotAsked};
pub use catalog::WantedCatalog;
pub use limits::{Limits, Patience};
pub use net::{Neighbour, Net};
pub use serve::{Answer, BodyError, CatalogAnswer, Refusal, Source};
pub use server::Server;
pub use store::{Mount, PeerStore, Spread};
pub use throttle::LEAST_BANDWIDTH;
pub use tls::{Identity, TlsError};

#[cfg(test)]
mod tests;
