//! Those who want one extent: who is sent it now, who has it, and where the next one gets it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use forebay_store::policy::Priority;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Patience;
use crate::store::asking::NAMED_IN_VAIN;
use crate::unsent::Unsent;

/// Nodes remembered that have some of it.
pub(super) const HOLDERS: usize = 32;
/// Nodes that one is sent to.
const NAMED: usize = 3;
/// Between the last byte of a body and the moment from which its receiver is named: it has yet to reach the receiver's cache.
pub(super) const LANDING: Duration = Duration::from_millis(20);
/// By then it is in the receiver's cache, or will not be. No longer than the pauses before one is sent there for the third time, so that who comes
/// back once more is known to have been there in vain.
pub(super) const SETTLED: Duration = NAMED_IN_VAIN.saturating_mul(3);
/// What a node got so long ago it may have given up.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A body that is wanted, or sent.
#[derive(Debug)]
pub(super) struct Body {
    /// Whom it goes to.
    pub(super) node: String,
    /// The node's zone, where that is another than this agent's.
    pub(super) zone: Option<String>,
    /// Of the object.
    pub(super) range: Range<u64>,
    pub(super) priority: Priority,
    /// Of the connection that it goes over.
    pub(super) unsent: Arc<Unsent>,
}

impl Body {
    /// Readers do not wait for background work.
    fn goes_before(&self, other: &Self) -> bool {
        self.priority == Priority::Reader || other.priority == Priority::Prefetch
    }
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Begun {
    body: Arc<Body>,
    /// Since when it may be sent; its first byte may still have to come from the store.
    since: Instant,
}

impl Begun {
    /// Whether it is worth waiting for, for who would get it from its receiver.
    fn comes_soon(&self, patience: &Patience, now: Instant) -> bool {
        self.body.unsent.age() < patience.still && now.saturating_duration_since(self.since) < patience.mate
    }
}

/// A node that got some of it from here.
#[derive(Debug)]
pub(super) struct Holder {
    node: String,
    zone: Option<String>,
    range: Range<u64>,
    since: Instant,
}

impl Holder {
    fn has(&self, wanted: &Body) -> bool {
        self.node != wanted.node && covers(&self.range, &wanted.range)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// A node of another zone that was sent to nodes which have got it for sure. If it comes again for the same, they have it no more, or have no time
/// to give it, and its zone needs another one that does.
#[derive(Debug)]
pub(super) struct SentOn {
    node: String,
    range: Range<u64>,
    at: Instant,
}

impl SentOn {
    fn is_for(&self, wanted: &Body) -> bool {
        self.node == wanted.node && self.range == wanted.range
    }
}

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum Place {
    Here,
    /// These nodes of its zone have it.
    Elsewhere(Vec<String>),
    /// Somebody will have it.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// As many as connections at most.
    pub(super) bodies: Vec<Begun>,
    /// The newest last.
    pub(super) holders: VecDeque<Holder>,
    /// The newest last.
    pub(super) sent_on: VecDeque<SentOn>,
    turn: usize,
    /// Wakes those who wait for somebody to have it.
    pub(super) changed: Arc<Notify>,
}

impl Crowd {
    /// Where `wanted` comes from. This agent's zone is sent `width` bodies at a time. Another zone is sent a piece once, and who comes for it after
    /// that from the same zone gets it from the one that has it then.
    pub(super) fn place(&mut self, wanted: &Body, width: usize, patience: &Patience, now: Instant) -> Place {
        self.holders.retain(|holder| holder.age(now) < FORGOTTEN);
        let far = wanted.zone.is_some();
        let others_give = match far {
            true => self.mates(wanted).next().is_some() || self.mate_gets_it(wanted, patience, now),
            false => self.before(wanted) >= width,
        };
        if !others_give {
            return Place::Here;
        }
        let named = self.named(wanted, now);
        if named.is_empty() {
            return Place::Later;
        }
        if far && self.mates(wanted).all(|holder| holder.age(now) >= SETTLED) {
            self.remember(wanted, now);
        }
        Place::Elsewhere(named)
    }

    pub(super) fn begin(&mut self, body: Arc<Body>, now: Instant) {
        self.bodies.push(Begun { body, since: now });
    }

    /// All of it was sent.
    pub(super) fn sent(&mut self, body: &Body, now: Instant) {
        let mut range = body.range.clone();
        // What one node got in pieces that touch is one.
        self.holders.retain(|known| {
            let touches = known.node == body.node && known.range.start <= range.end && range.start <= known.range.end;
            if touches {
                range = known.range.start.min(range.start)..known.range.end.max(range.end);
            }
            !touches
        });
        if self.holders.len() >= HOLDERS {
            // A zone of many nodes does not make the one of another zone forgotten.
            let oldest = self.holders.iter().position(|known| known.zone == body.zone).unwrap_or(0);
            self.holders.remove(oldest);
        }
        self.holders.push_back(Holder { node: body.node.clone(), zone: body.zone.clone(), range, since: now });
    }

    /// It is on its way no more, sent to its end or not.
    pub(super) fn end(&mut self, body: &Arc<Body>) {
        self.bodies.retain(|other| !Arc::ptr_eq(&other.body, body));
        self.changed.notify_waiters();
    }

    /// Nodes of the asker's zone that have it, but for those that had it when `wanted` was sent to them and gave nothing.
    fn mates(&self, wanted: &Body) -> impl Iterator<Item = &Holder> {
        let in_vain = self.sent_on.iter().find(|sent| sent.is_for(wanted)).map(|sent| sent.at);
        let gives = move |holder: &Holder| in_vain.is_none_or(|at| holder.since >= at);
        self.holders.iter().filter(move |holder| holder.zone == wanted.zone && holder.has(wanted) && gives(holder))
    }

    /// Whether a node of the asker's zone is getting it, and will have it soon.
    fn mate_gets_it(&self, wanted: &Body, patience: &Patience, now: Instant) -> bool {
        self.bodies.iter().any(|begun| {
            let body = &begun.body;
            let same_zone = body.zone == wanted.zone && body.node != wanted.node;
            same_zone && body.goes_before(wanted) && covers(&body.range, &wanted.range) && begun.comes_soon(patience, now)
        })
    }

    /// Bodies within this agent's zone that it would have to wait for.
    fn before(&self, wanted: &Body) -> usize {
        self.bodies.iter().filter(|begun| begun.body.zone.is_none() && begun.body.goes_before(wanted)).count()
    }

    fn remember(&mut self, wanted: &Body, now: Instant) {
        self.sent_on.retain(|sent| !sent.is_for(wanted));
        if self.sent_on.len() >= HOLDERS {
            self.sent_on.pop_front();
        }
        self.sent_on.push_back(SentOn { node: wanted.node.clone(), range: wanted.range.clone(), at: now });
    }

    /// Nodes of the asker's zone that have it, by turns; those that have just got it not yet.
    fn named(&mut self, wanted: &Body, now: Instant) -> Vec<String> {
        self.turn = self.turn.wrapping_add(1);
        let landed = self.mates(wanted).filter(|holder| holder.age(now) >= LANDING);
        let mut nodes: Vec<&str> = landed.map(|holder| &*holder.node).collect();
        let first = self.turn % nodes.len().max(1);
        nodes.rotate_left(first);
        nodes.into_iter().take(NAMED).map(str::to_owned).collect()
    }
}

fn covers(all: &Range<u64>, part: &Range<u64>) -> bool {
    all.start <= part.start && part.end <= all.end
}
