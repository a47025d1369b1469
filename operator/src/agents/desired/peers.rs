//! Who is there, and what of it a session has not been told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use forebay_api::session::{PeerState, PeersChange};

/// Differences that are kept: from nothing, from what was before, and from a few older states for sessions that are behind.
const KEPT: usize = 4;

/// The agents that serve each other. What differs from a former state is looked for once, and shared by all sessions that were told that
/// state: of a thousand, each would compare a thousand agents, and hold a copy of all that changed.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// By node.
    all: BTreeMap<String, PeerState>,
    /// The newest last.
    differences: Mutex<Vec<Difference>>,
}

#[derive(Debug)]
struct Difference {
    /// `None`: nothing had been told. Weak, so that no state keeps those before it; while it is here no other state can have its address.
    former: Option<Weak<Peers>>,
    /// `None`: there is none.
    change: Option<Arc<PeersChange>>,
}

impl Peers {
    pub(crate) fn new(all: BTreeMap<String, PeerState>) -> Self {
        Self { all, differences: Mutex::default() }
    }

    /// By node.
    pub(crate) fn all(&self) -> &BTreeMap<String, PeerState> {
        &self.all
    }

    /// What makes this of what a session was told; `None`: it is the same.
    pub(super) fn since(&self, former: Option<&Arc<Self>>) -> Option<Arc<PeersChange>> {
        // Held while it is looked for, so that sessions that ask at once do not all look.
        let mut differences = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        let at = former.map(Arc::as_ptr);
        if let Some(known) = differences.iter().find(|known| known.former.as_ref().map(Weak::as_ptr) == at) {
            return known.change.clone();
        }
        let change = self.change(former.map(|former| &former.all)).map(Arc::new);
        if differences.len() >= KEPT {
            differences.remove(0);
        }
        differences.push(Difference { former: former.map(Arc::downgrade), change: change.clone() });
        change
    }

    fn change(&self, former: Option<&BTreeMap<String, PeerState>>) -> Option<PeersChange> {
        let none = BTreeMap::new();
        let known = former.unwrap_or(&none);
        let there: Vec<_> = self.all.values().filter(|peer| known.get(&peer.node) != Some(peer)).cloned().collect();
        let gone: Vec<_> = known.keys().filter(|node| !self.all.contains_key(*node)).cloned().collect();
        (!there.is_empty() || !gone.is_empty()).then_some(PeersChange { anew: former.is_none(), there, gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(nodes: &[&str]) -> Arc<Peers> {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 9102));
        let peer = |node: &&str| PeerState { node: (*node).into(), zone: None, address, leaving: false, since: 0 };
        Arc::new(Peers::new(nodes.iter().map(|node| ((*node).to_owned(), peer(node))).collect()))
    }

    fn is_one(a: Option<&Arc<PeersChange>>, b: Option<&Arc<PeersChange>>) -> bool {
        a.zip(b).is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }

    #[test]
    fn sessions_that_were_told_the_same_share_what_has_changed() {
        let (before, now) = (peers(&["n1", "n2"]), peers(&["n2", "n3"]));
        let (first, second) = (now.since(Some(&before)), now.since(Some(&before)));
        assert!(is_one(first.as_ref(), second.as_ref()), "{first:?} {second:?}");
        let (begins, too) = (now.since(None), now.since(None));
        assert!(is_one(begins.as_ref(), too.as_ref()), "{begins:?} {too:?}");
        let said = |change: Option<Arc<PeersChange>>| {
            change.map(|change| {
                (change.anew, change.there.iter().map(|peer| peer.node.clone()).collect::<Vec<_>>(), change.gone.clone())
            })
        };
        let nodes = |nodes: &[&str]| nodes.iter().map(|node| (*node).to_owned()).collect::<Vec<_>>();
        assert_eq!(said(first), Some((false, nodes(&["n3"]), nodes(&["n1"]))));
        assert_eq!(said(begins), Some((true, nodes(&["n2", "n3"]), vec![])));
        let behind = peers(&["n3"]);
        assert_eq!(said(now.since(Some(&behind))), Some((false, nodes(&["n2"]), vec![])), "it was told something else");
        assert_eq!(said(now.since(Some(&peers(&["n2", "n3"])))), None, "another state, and the same");
    }

    #[test]
    fn however_many_states_sessions_were_told_few_differences_are_kept() {
        let now = peers(&["n1"]);
        for _ in 0..2 * KEPT {
            // Its memory is free for the next one, which must not be taken for it.
            let (other, same) = (peers(&["n2"]), peers(&["n1"]));
            assert!(now.since(Some(&other)).is_some_and(|change| change.gone == ["n2"]));
            assert_eq!(now.since(Some(&same)), None);
        }
        assert_eq!(now.differences.lock().unwrap_or_else(PoisonError::into_inner).len(), KEPT);
    }
}
