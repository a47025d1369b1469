use super::sets::Set;
use super::{Arena, EVICTING, IDLE, NONE, Place, Policy, Ref, Sketch};

/// How a block comes into a tier, and with that what may go for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bid {
    /// Landed: into the window.
    Landed,
    /// Landed as a guest.
    Guest,
    /// From another tier straight to main, having been used so often lately: only for what it beats.
    Used(u8),
}

/// From whom room may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// From anybody.
    Any,
    /// Only from one Dataset, because it is at its quota.
    Only(u16),
}

/// Why a block was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its Dataset was removed, or is unknown.
    Retired,
    /// Not read within its Dataset's TTL.
    Expired,
    /// Other nodes keep it.
    Guest,
    /// Its Dataset is idle.
    Idle,
    /// It was used less often than the other in a contest.
    Lost,
    /// The oldest when there was no contest to hold.
    Oldest,
}

/// A block that is to go. It is out of its list and marked `EVICTING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) block: Ref,
    pub(crate) cause: Cause,
}

/// What a victim is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) scope: Scope,
    /// Bytes about to enter the window, those in flight included.
    pub(crate) incoming: u64,
    /// Bytes that windows and main may hold together.
    pub(crate) room: u64,
    /// The windows' part of them.
    pub(crate) budget: u64,
    pub(crate) now: u32,
}

/// By how much a block must have been used more often than the one whose place it takes.
///
/// One, because the candidate's count includes the access that brings it, which the incumbent has yet to see in this round:
/// else each block of a cyclic scan would beat the one that comes next, and nothing would ever be hit. Two more, because in
/// shuffled epochs the counts of blocks that are all read once an epoch differ by as much: one of order, one of halving.
/// With 1 such a scan hits half of its share in some epochs, with 2 three quarters, with 3 all of it.
const MARGIN: u8 = 3;

/// Whether a block used `candidate` times lately may take the place of one used `incumbent` times.
pub(crate) fn beats(candidate: u8, incumbent: u8) -> bool {
    candidate > incumbent.saturating_add(MARGIN)
}

/// How often an incumbent was used lately, as far as it still counts.
fn idle(arena: &impl Arena, sketch: &Sketch, block: Ref) -> u8 {
    sketch.count_idle(arena.hash(block), arena.link(block).stamp)
}

impl Policy {
    /// Chooses a block to evict for one that comes as `bid` says; `None` when there is none that may go.
    pub(crate) fn victim(&mut self, arena: &mut impl Arena, sketch: &Sketch, want: Want, bid: Bid) -> Option<Victim> {
        // A guest takes a guest's place, but for a few: who reads what others keep reads each block in many small reads.
        // In a small tier a window takes a quarter of the room, which is too much of what is kept here.
        let guests_may_grow = bid == Bid::Guest && self.guests < want.budget.min(want.room / 8);
        let (block, cause) = self.due(arena, want, guests_may_grow).or_else(|| match bid {
            Bid::Landed | Bid::Guest => self.contest(arena, sketch, want),
            Bid::Used(count) => self.beaten(arena, sketch, count),
        })?;
        self.take(arena, block);
        arena.link_mut(block).set_flag(EVICTING, true);
        Some(Victim { block, cause })
    }

    /// The oldest in main, if a block that was used `count` times beats it.
    fn beaten(&mut self, arena: &mut impl Arena, sketch: &Sketch, count: u8) -> Option<(Ref, Cause)> {
        let oldest = self.oldest(arena, Place::Main)?;
        if beats(count, idle(arena, sketch, oldest)) {
            return Some((oldest, Cause::Lost));
        }
        self.again(arena, oldest);
        None
    }

    /// What may go without a contest: of removed Datasets, then expired, then guests, then (unless a quota narrows the choice) of the Dataset that
    /// is idle longest.
    fn due(&self, arena: &impl Arena, want: Want, spare_guests: bool) -> Option<(Ref, Cause)> {
        let tails = |at: usize| {
            let Set { window, main, guests, .. } = &self.sets[at];
            [main.tail, window.tail, guests.tail].into_iter().filter(|tail| *tail != NONE)
        };
        let in_scope = |at: &usize| match want.scope {
            Scope::Any => true,
            Scope::Only(set) => usize::from(set) == *at,
        };
        let sets = || (0..self.sets.len()).filter(in_scope);
        if let Some(block) = sets().filter(|at| self.sets[*at].rules.retired).flat_map(tails).next() {
            return Some((block, Cause::Retired));
        }
        let expired = sets().find_map(|at| {
            let ttl = self.sets[at].rules.ttl?;
            tails(at).find(|tail| want.now.saturating_sub(arena.link(*tail).stamp) >= ttl)
        });
        if let Some(block) = expired {
            return Some((block, Cause::Expired));
        }
        let guests = sets().map(|at| self.sets[at].guests.tail).filter(|tail| *tail != NONE && !spare_guests);
        if let Some(guest) = guests.min_by_key(|tail| arena.link(*tail).stamp) {
            return Some((guest, Cause::Guest));
        }
        if want.scope != Scope::Any {
            return None;
        }
        let idle = sets().filter(|at| tails(*at).next().is_some()).min_by_key(|at| self.sets[*at].used)?;
        if want.now.saturating_sub(self.sets[idle].used) < IDLE {
            return None;
        }
        tails(idle).next().map(|block| (block, Cause::Idle))
    }

    fn contest(&mut self, arena: &mut impl Arena, sketch: &Sketch, want: Want) -> Option<(Ref, Cause)> {
        loop {
            let (candidate, windows) = match want.scope {
                Scope::Any => (self.oldest(arena, Place::Window), self.window),
                Scope::Only(set) => {
                    let set = self.sets.get(usize::from(set))?;
                    (Some(set.window.tail).filter(|tail| *tail != NONE), set.window.bytes)
                }
            };
            let oldest = self.oldest_main(arena, want.scope);
            let Some(candidate) = candidate.filter(|_| windows + want.incoming > want.budget) else {
                return oldest.or(candidate).map(|block| (block, Cause::Oldest));
            };
            if want.scope == Scope::Any && self.main + arena.charge(candidate) <= want.room.saturating_sub(want.budget) {
                self.advance(arena, candidate);
                continue;
            }
            let count = sketch.count(arena.hash(candidate));
            // The oldest of all, then the oldest of the candidate's own Dataset: else the unread but once popular blocks of one
            // Dataset would shield the cold ones of all others.
            let own = self.sets[usize::from(arena.link(candidate).set)].main.tail;
            for incumbent in [oldest, Some(own).filter(|own| *own != NONE && Some(*own) != oldest)].into_iter().flatten() {
                if beats(count, idle(arena, sketch, incumbent)) {
                    self.advance(arena, candidate);
                    return Some((incumbent, Cause::Lost));
                }
                self.again(arena, incumbent);
            }
            return Some((candidate, Cause::Lost));
        }
    }

    fn oldest_main(&self, arena: &impl Arena, scope: Scope) -> Option<Ref> {
        match scope {
            Scope::Any => self.oldest(arena, Place::Main),
            Scope::Only(set) => self.sets.get(usize::from(set)).map(|set| set.main.tail).filter(|tail| *tail != NONE),
        }
    }

    /// From the window to main.
    fn advance(&mut self, arena: &mut impl Arena, block: Ref) {
        self.take(arena, block);
        self.push(arena, block, Place::Main);
    }

    /// A block that won its contest waits for all others before the next one: else it would shield them for as long as it lives.
    fn again(&mut self, arena: &mut impl Arena, block: Ref) {
        let set = arena.link(block).set;
        self.set(set).main.rejuvenate(arena, block);
    }

    /// Whether main would take a block used `count` times when the tier is full, for a block that another tier evicts.
    pub(crate) fn would_take(&self, arena: &impl Arena, sketch: &Sketch, want: Want, count: u8) -> bool {
        self.due(arena, want, false).is_some()
            || self.oldest(arena, Place::Main).is_some_and(|oldest| count > idle(arena, sketch, oldest))
    }
}
