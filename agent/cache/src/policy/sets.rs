use super::link::List;
use super::{Arena, FRESH, Place, Ref, Sketch, VISIT};

/// What the policy knows about one Dataset in one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Set {
    pub(crate) window: List,
    pub(crate) main: List,
    pub(crate) guests: List,
    /// Last access of any of its blocks.
    pub(crate) used: u32,
    pub(crate) rules: SetRules,
}

/// What is decided elsewhere about a Dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetRules {
    /// Removed, or not known to this process (yet): its blocks go first.
    pub(crate) retired: bool,
    /// Ticks without access after which a block has expired.
    pub(crate) ttl: Option<u32>,
}

/// The order of eviction in one tier.
#[derive(Default)]
pub(crate) struct Policy {
    pub(super) sets: Vec<Set>,
    pub(super) window: u64,
    pub(super) main: u64,
    pub(super) guests: u64,
}

impl Policy {
    /// Bytes in all lists: what could be evicted.
    pub(crate) fn evictable(&self) -> u64 {
        self.window + self.main + self.guests
    }

    /// Sets the rules of a Dataset.
    pub(crate) fn rule(&mut self, set: u16, rules: SetRules) {
        self.set(set).rules = rules;
    }

    /// Whether a Dataset was removed or is unknown.
    pub(crate) fn retired(&self, set: u16) -> bool {
        self.sets.get(usize::from(set)).is_some_and(|s| s.rules.retired)
    }

    pub(super) fn set(&mut self, set: u16) -> &mut Set {
        let at = usize::from(set);
        if at >= self.sets.len() {
            self.sets.resize(at + 1, Set::default());
        }
        &mut self.sets[at]
    }

    /// Notes that a Dataset is in use, before its block asks for room.
    pub(crate) fn active(&mut self, set: u16, now: u32) {
        let set = self.set(set);
        set.used = set.used.max(now);
    }

    /// Takes a landed block into its Dataset's window and counts the access that brought it. Blocks that the window
    /// has no room for go on to main as long as that has: `room` is what windows and main may hold together, `budget` the windows' part.
    pub(crate) fn landed(&mut self, arena: &mut impl Arena, sketch: &mut Sketch, block: Ref, now: u32, room: u64, budget: u64) {
        sketch.add(arena.hash(block), now);
        arena.link_mut(block).set_flag(FRESH, true);
        let set = arena.link(block).set;
        self.active(set, now);
        self.push(arena, block, Place::Window);
        while self.window > budget && self.main < room.saturating_sub(budget) {
            let Some(oldest) = self.oldest(arena, Place::Window) else { break };
            if self.main + arena.charge(oldest) > room.saturating_sub(budget) {
                break;
            }
            self.take(arena, oldest);
            self.push(arena, oldest, Place::Main);
        }
    }

    /// Notes a read. Returns whether it counts as an access of its own.
    pub(crate) fn touched(&mut self, arena: &mut impl Arena, sketch: &mut Sketch, block: Ref, now: u32) -> bool {
        let link = arena.link_mut(block);
        let set = link.set;
        let fresh = link.is(FRESH);
        let visited = now.saturating_sub(link.stamp) < VISIT;
        link.set_flag(FRESH, false);
        self.active(set, now);
        if visited {
            return false;
        }
        let link = arena.link_mut(block);
        link.stamp = now;
        match link.place() {
            Place::Main => self.sets[usize::from(set)].main.rejuvenate(arena, block),
            Place::Guest => self.sets[usize::from(set)].guests.rejuvenate(arena, block),
            Place::Window | Place::Out => {}
        }
        if !fresh {
            sketch.add(arena.hash(block), now);
        }
        !fresh
    }

    /// Puts a block that is in no list into one, as its youngest.
    pub(crate) fn push(&mut self, arena: &mut impl Arena, block: Ref, place: Place) {
        let charge = arena.charge(block);
        let set = arena.link(block).set;
        let lists = self.set(set);
        match place {
            Place::Out => {}
            Place::Window => {
                lists.window.push(arena, block, place);
                self.window += charge;
            }
            Place::Main => {
                lists.main.push(arena, block, place);
                self.main += charge;
            }
            Place::Guest => {
                lists.guests.push(arena, block, place);
                self.guests += charge;
            }
        }
    }

    /// Takes a block out of whatever list it is in.
    pub(crate) fn take(&mut self, arena: &mut impl Arena, block: Ref) {
        let charge = arena.charge(block);
        let link = *arena.link(block);
        match link.place() {
            Place::Out => {}
            Place::Window => {
                self.set(link.set).window.remove(arena, block);
                self.window -= charge;
            }
            Place::Main => {
                self.set(link.set).main.remove(arena, block);
                self.main -= charge;
            }
            Place::Guest => {
                self.set(link.set).guests.remove(arena, block);
                self.guests -= charge;
            }
        }
    }

    /// Gives a block to another Dataset.
    pub(crate) fn reassign(&mut self, arena: &mut impl Arena, block: Ref, set: u16) {
        let place = arena.link(block).place();
        self.take(arena, block);
        arena.link_mut(block).set = set;
        self.push(arena, block, place);
    }

    /// The block at the tail of a list that has waited longest, over all Datasets.
    pub(super) fn oldest(&self, arena: &impl Arena, place: Place) -> Option<Ref> {
        self.sets
            .iter()
            .map(|set| match place {
                Place::Window => set.window.tail,
                Place::Main => set.main.tail,
                Place::Guest => set.guests.tail,
                Place::Out => super::NONE,
            })
            .filter(|tail| *tail != super::NONE)
            .min_by_key(|tail| arena.link(*tail).stamp)
    }

    /// Orders each main list by last access: after a start the index gives the blocks in no order.
    pub(crate) fn sort(&mut self, arena: &mut impl Arena) {
        for set in &mut self.sets {
            let mut blocks = Vec::new();
            let mut at = set.main.tail;
            while at != super::NONE {
                blocks.push((arena.link(at).stamp, at));
                at = arena.link(at).prev;
            }
            blocks.sort_unstable();
            set.main = List::default();
            for (_, block) in blocks {
                set.main.push(arena, block, Place::Main);
            }
        }
    }
}
