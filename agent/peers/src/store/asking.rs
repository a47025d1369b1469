//! Whom a store asks before the store itself, in which order, and who is waited for.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use forebay_placement::Item;
use forebay_store::{ObjectVersion, Tally};
use tokio::time::{Instant, sleep};

use super::{For, Mount, PeerStore, Spread};
use crate::Asked;
use crate::peer::{Late, Peer, PeerBody, PeerError};

/// Peers asked for one range that may have to bring it in first, at most.
const TRIES: usize = 2;

/// So often one peer may send this node on to others before it has to give itself. By the third time it is known of those that they should have it;
/// after that one of all who come back gets it from the peer, and the others from that one.
pub(crate) const SENT_ON: u32 = 4;
/// After others had been named in vain, who may not have it in their caches yet; twice as long each time.
pub(crate) const NAMED_IN_VAIN: Duration = Duration::from_millis(50);

/// Why those that may hold something gave nothing.
#[derive(Clone, Copy, Debug)]
enum InVain {
    /// None of them could be asked: they are gone, or left alone for a while.
    NotAsked,
    /// They do not hold it, or did not say so in time.
    Asked,
}

impl PeerStore {
    /// What others give: where owners are to be asked, who of this zone holds it and then the owners; where it is for this node to bring it in, who
    /// holds it.
    pub(super) async fn ask_peers(&self, object: ObjectVersion<'_>, range: &Range<u64>, tally: &Arc<Tally>) -> Option<PeerBody> {
        if self.mount.net.is_empty() {
            return None;
        }
        let (item, copies) = self.place(object, range);
        let owners = match self.whom {
            For::Own => self.mount.net.to_ask(item, copies),
            For::Others => Vec::new(),
        };
        let asked = Asked {
            dataset: self.mount.dataset.clone(),
            store: self.direct.id().as_str().to_owned(),
            key: object.key.to_owned(),
            version: object.version.to_token(),
            size: object.size,
            range: range.clone(),
            priority: self.priority,
            held: false,
            elsewhere: true,
        };
        if owners.is_empty() {
            return self.ask_holders(item, copies, &asked, tally).await;
        }
        match self.ask_zone(item, &asked, tally).await {
            Some(body) => Some(body),
            None => self.ask_owners(owners, &asked, tally).await,
        }
    }

    /// Of those that may hold what this node has to bring in.
    async fn ask_holders(&self, item: Item, copies: usize, asked: &Asked, tally: &Arc<Tally>) -> Option<PeerBody> {
        let Mount { net, hopes, .. } = &*self.mount;
        let hope = match self.whom {
            For::Own => &hopes.own,
            For::Others => &hopes.others,
        };
        let hoped = hope.allows(net.now());
        let may_hold = net.may_hold(item, copies, hoped);
        if may_hold.is_empty() {
            return None;
        }
        let given = self.held(may_hold, asked, self.patience(), Late::Failed, tally).await.ok();
        // Where only nodes that are leaving were asked, they say nothing of the others.
        if hoped || given.is_some() {
            hope.note(net.now(), given.is_some());
        }
        given
    }

    /// Of those of this zone that may hold it, where the owner is of another: within a zone bytes cost less. Who has to wait for an owner anyway
    /// does not wait long for this, and leaves nobody alone who is only slow to say it: that one may be the owner of the next piece. Where data is
    /// sharded, those that keep it are the ones to ask.
    async fn ask_zone(&self, item: Item, asked: &Asked, tally: &Arc<Tally>) -> Option<PeerBody> {
        let Mount { net, hopes, spread, .. } = &*self.mount;
        if *spread != Spread::EveryNode || !hopes.zone.allows(net.now()) {
            return None;
        }
        let near = net.near(item);
        if near.is_empty() {
            return None;
        }
        let given = self.held(near, asked, net.limits.held / 4, Late::Busy, tally).await.ok();
        hopes.zone.note(net.now(), given.is_some());
        given
    }

    /// For how long those that may hold it are asked. Who waits for this node to bring it in for others waits no longer than
    /// [`crate::Limits::held`] for that.
    fn patience(&self) -> Duration {
        let limits = &self.mount.net.limits;
        match self.whom {
            For::Own => limits.held + limits.queue,
            For::Others => limits.held,
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
            match self.held(net.named(&named), asked, self.patience(), Late::Failed, tally).await {
                Ok(body) => return Ok(body),
                Err(InVain::Asked) => sleep(NAMED_IN_VAIN * 2u32.pow(round)).await,
                // A pause brings nobody back. The peer is asked as before, and does not have to give yet: it remembers those that it named in
                // vain, gives to one of a zone, and names that one to the others.
                Err(InVain::NotAsked) => {}
            }
        }
        peer.get(net, &Asked { elsewhere: false, ..asked.clone() }).await
    }

    /// Asks these one after the other for what they hold; after `patience` no further one, nor one to which no connection is free by then.
    async fn held(
        &self,
        peers: Vec<Arc<Peer>>,
        asked: &Asked,
        patience: Duration,
        late: Late,
        tally: &Arc<Tally>,
    ) -> Result<PeerBody, InVain> {
        let net = &self.mount.net;
        let asked = &Asked { held: true, elsewhere: false, ..asked.clone() };
        let until = Instant::now() + patience;
        let mut in_vain = InVain::NotAsked;
        for peer in peers {
            // Asked of the breakers one by one: a trial that is allowed must be made.
            if Instant::now() >= until || !peer.breaker().allows(net.now()) {
                continue;
            }
            tally.peer_get();
            in_vain = InVain::Asked;
            match peer.held(net, asked, until, late).await {
                Ok(body) => return Ok(body),
                Err(error) => tracing::debug!(peer = %peer.address(), key = asked.key, %error, "a peer does not give it"),
            }
        }
        Err(in_vain)
    }

    /// Of the owners, which are waited for.
    async fn ask_owners(&self, peers: Vec<Arc<Peer>>, asked: &Asked, tally: &Arc<Tally>) -> Option<PeerBody> {
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
}
