use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::Item;
use crate::item::seed;

/// A node that can hold data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name, unique among the members.
    pub node: String,
    /// Its zone, where it is known.
    pub zone: Option<String>,
    /// It is about to go: it owns nothing, and gives what it holds.
    pub leaving: bool,
    /// Since when it may have data, in seconds of any clock that all share; 0: not known, and before all others.
    pub since: u64,
}

/// The nodes that can hold data, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Members {
    all: Vec<(u64, Member)>,
}

impl Members {
    /// These; of two with one name the last counts. Where all are leaving, none is: somebody has to own things.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut all: BTreeMap<String, Member> = members.into_iter().map(|member| (member.node.clone(), member)).collect();
        if all.values().all(|member| member.leaving) {
            all.values_mut().for_each(|member| member.leaving = false);
        }
        Self { all: all.into_values().map(|member| (seed(&member.node), member)).collect() }
    }

    /// The `copies` nodes that own `item`, the first owner first; all that stay when there are fewer.
    pub fn owners(&self, item: Item, copies: usize) -> Vec<&Member> {
        self.best(item, copies, |member| !member.leaving)
    }

    /// The `copies` best of some, the best first.
    fn best(&self, item: Item, copies: usize, of: impl Fn(&Member) -> bool) -> Vec<&Member> {
        let mut best: Vec<(Reverse<u64>, &Member)> = Vec::with_capacity(copies + 1);
        for ranked in self.ranked(item).filter(|(_, member)| of(member)) {
            let at = best.partition_point(|other| *other < ranked);
            if at < copies {
                best.truncate(copies - 1);
                best.insert(at, ranked);
            }
        }
        best.into_iter().map(|(_, member)| member).collect()
    }

    /// All with what they are ordered by: the best is the least.
    fn ranked(&self, item: Item) -> impl Iterator<Item = (Reverse<u64>, &Member)> {
        self.all.iter().map(move |(seed, member)| (Reverse(item.score(*seed)), member))
    }

    /// Which of the `copies` owners of `item` `node` is, the first one 0; `None`: none of them.
    pub fn rank(&self, node: &str, item: Item, copies: usize) -> Option<usize> {
        self.owners(item, copies).iter().position(|owner| owner.node == node)
    }

    /// Who may hold `item` already where `node` has to bring it in, the likeliest first, none twice: those that are leaving and were owners; those
    /// that would own it without `node`; then those that owned it before the newest of these had come, and so on back to the oldest, since of
    /// nodes that come together none has anything yet. Of `n` nodes about `copies` times the logarithm of `n`.
    pub fn may_hold(&self, node: &str, item: Item, copies: usize) -> Vec<&Member> {
        let mut found = self.best(item, copies, |_| true);
        found.retain(|member| member.leaving && member.node != node);
        let mut before = u64::MAX;
        loop {
            let owners = self.best(item, copies, |member| !member.leaving && member.node != node && member.since < before);
            let Some(newest) = owners.iter().map(|owner| owner.since).max() else { return found };
            before = newest;
            for owner in owners {
                if !found.contains(&owner) {
                    found.push(owner);
                }
            }
        }
    }

    /// Whether any node is about to go.
    pub fn any_leaves(&self) -> bool {
        self.all.iter().any(|(_, member)| member.leaving)
    }

    /// Whether this node is about to go.
    pub fn is_leaving(&self, node: &str) -> bool {
        self.member(node).is_some_and(|member| member.leaving)
    }

    /// They stand in the order of their names.
    fn member(&self, node: &str) -> Option<&Member> {
        let at = self.all.binary_search_by(|(_, member)| member.node.as_str().cmp(node)).ok()?;
        Some(&self.all[at].1)
    }

    /// Whether nodes have begun to leave since `before`, and none has gone that had not.
    pub fn only_leave_since(&self, before: &Self) -> bool {
        let stayed = before.all.iter().filter(|(_, member)| !member.leaving);
        let now: Option<Vec<&Member>> = stayed.map(|(_, member)| self.member(&member.node)).collect();
        now.is_some_and(|now| now.iter().any(|member| member.leaving))
    }

    /// A number that stands for the nodes that stay, never 0. One that leaves owns nothing, so its end changes nothing.
    pub fn fingerprint(&self) -> u64 {
        let staying = self.all.iter().filter(|(_, member)| !member.leaving);
        staying.fold(1, |sum: u64, (seed, _)| sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(*seed)).max(1)
    }

    /// Whom `node` asks for `item` before the store, in this order: the owners, those of its own zone first, then `spare` nodes that take
    /// an owner's place when it does not answer. A node asks only those that score higher than itself, so that nodes never wait for each
    /// other in a circle, whatever lists of members they have. One that is leaving may score higher than all, and waits for nobody.
    pub fn to_ask(&self, node: &str, item: Item, copies: usize, spare: usize) -> Vec<&Member> {
        let own = self.member(node);
        if own.is_some_and(|own| own.leaving) {
            return Vec::new();
        }
        let mut ranked = self.owners(item, copies + spare);
        if let Some(place) = ranked.iter().position(|member| member.node == node) {
            ranked.truncate(place);
        }
        if let Some(zone) = own.and_then(|own| own.zone.as_ref()) {
            let owners = copies.min(ranked.len());
            ranked[..owners].sort_by_key(|owner| owner.zone.as_ref() != Some(zone));
        }
        ranked
    }

    /// Who of `node`'s own zone is likeliest to hold `item`, of which one node is the owner: the `count` best of the zone, the best first, none that
    /// leaves. All nodes of a zone rank them alike, so that what one of these has brought in from another zone the others find. Empty where the zone
    /// is not known, and where `node` does not ask an owner or asks one of its zone. These may score lower than `node`: they are asked for what they
    /// hold, and nobody waits for them.
    pub fn near(&self, node: &str, item: Item, count: usize) -> Vec<&Member> {
        let Some(zone) = self.zone(node) else { return Vec::new() };
        let is_near = |member: &Member| member.zone.as_deref() == Some(zone);
        match self.to_ask(node, item, 1, 0).first() {
            Some(owner) if !is_near(owner) => {
                self.best(item, count, |member| is_near(member) && !member.leaving && member.node != node)
            }
            _ => Vec::new(),
        }
    }

    /// The zone of this node, where it is known.
    pub fn zone(&self, node: &str) -> Option<&str> {
        self.member(node)?.zone.as_deref()
    }

    /// Who passes `item`, which all nodes want whole, on to `node`: the nodes form a tree whose root is the first owner, and each has two
    /// below it. The one just above `node` comes first, then those above that one, up to the root. Empty for the root. Nobody has a node that
    /// is leaving above it, and that one has those above it that score higher. All score higher than `node`, as with [`Members::to_ask`].
    pub fn above(&self, node: &str, item: Item) -> Vec<&Member> {
        let Some(own) = self.ranked(item).find(|(_, member)| member.node == node) else { return Vec::new() };
        let mut higher: Vec<_> = self.ranked(item).filter(|one| !one.1.leaving && *one < own).collect();
        higher.sort_unstable();
        let mut above = Vec::new();
        let mut place = higher.len();
        while place > 0 {
            place = (place - 1) / 2;
            above.push(higher[place].1);
        }
        above
    }
}
