#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashMap;

use proptest::prelude::*;

use super::traces::Rng;
use super::*;

/// Blocks in a vector: the policy's arena without a cache.
#[derive(Default)]
pub(super) struct Blocks {
    links: Vec<(Link, u64, u64)>,
    free: Vec<Ref>,
}

impl Arena for Blocks {
    fn link(&self, block: Ref) -> &Link {
        &self.links[block as usize].0
    }
    fn link_mut(&mut self, block: Ref) -> &mut Link {
        &mut self.links[block as usize].0
    }
    fn hash(&self, block: Ref) -> u64 {
        mix(self.links[block as usize].1)
    }
    fn charge(&self, block: Ref) -> u64 {
        self.links[block as usize].2
    }
}

/// A tier without files.
pub(super) struct Sim {
    pub(super) blocks: Blocks,
    pub(super) policy: Policy,
    sketch: Sketch,
    capacity: u64,
    used: u64,
    pub(super) names: HashMap<u64, Ref>,
    pub(super) size: Box<dyn Fn(u64) -> u64>,
}

impl Sim {
    pub(super) fn new(blocks: u64) -> Self {
        Self {
            blocks: Blocks::default(),
            policy: Policy::default(),
            sketch: Sketch::new(blocks),
            capacity: blocks * BLOCK,
            used: 0,
            names: HashMap::new(),
            size: Box::new(|_| BLOCK),
        }
    }

    fn want(&self, scope: Scope, incoming: u64, now: u32) -> Want {
        Want { scope, incoming, room: self.capacity, budget: window_budget(self.capacity), now }
    }

    /// Reads a block and lands it when it is not there; whether it was.
    pub(super) fn access(&mut self, name: u64, set: u16, now: u32) -> bool {
        if let Some(block) = self.names.get(&name) {
            self.policy.touched(&mut self.blocks, &mut self.sketch, *block, now);
            return true;
        }
        self.policy.active(set, now);
        let size = (self.size)(name);
        while self.used + size > self.capacity {
            let want = self.want(Scope::Any, size, now);
            if self.evict(want).is_none() {
                return false;
            }
        }
        self.land(name, set, size, now);
        false
    }

    /// Reads a block that other nodes keep.
    fn visit(&mut self, name: u64, set: u16, now: u32) -> bool {
        if let Some(block) = self.names.get(&name) {
            self.policy.touched(&mut self.blocks, &mut self.sketch, *block, now);
            return true;
        }
        while self.used + BLOCK > self.capacity {
            let want = self.want(Scope::Any, BLOCK, now);
            self.evict_for(want, Bid::Guest).unwrap();
        }
        let block = self.enter(name, set, BLOCK, now);
        self.blocks.link_mut(block).set_flag(GUEST, true);
        self.policy.push(&mut self.blocks, block, Place::Guest);
        false
    }

    fn land(&mut self, name: u64, set: u16, size: u64, now: u32) {
        let block = self.enter(name, set, size, now);
        self.policy.landed(&mut self.blocks, &mut self.sketch, block, now, self.capacity, window_budget(self.capacity));
    }

    fn enter(&mut self, name: u64, set: u16, size: u64, now: u32) -> Ref {
        let entry = (Link::new(set, now, PRESENT), name, size);
        let block = if let Some(free) = self.blocks.free.pop() {
            self.blocks.links[free as usize] = entry;
            free
        } else {
            self.blocks.links.push(entry);
            self.blocks.links.len() as Ref - 1
        };
        self.used += size;
        self.names.insert(name, block);
        self.sketch.ensure(self.names.len() as u64);
        block
    }

    fn evict(&mut self, want: Want) -> Option<(u64, Cause)> {
        self.evict_for(want, Bid::Landed)
    }

    fn evict_for(&mut self, want: Want, bid: Bid) -> Option<(u64, Cause)> {
        let victim = self.policy.victim(&mut self.blocks, &self.sketch, want, bid)?;
        let (_, name, size) = self.blocks.links[victim.block as usize];
        self.names.remove(&name).unwrap();
        self.blocks.free.push(victim.block);
        self.used -= size;
        Some((name, victim.cause))
    }

    fn full(set: u16) -> Self {
        let mut sim = Self::new(100);
        for name in 0..100 {
            sim.access(name, set, 100);
        }
        sim
    }
}

#[test]
fn window_is_bounded_for_large_and_tiny_tiers() {
    for (capacity, expected) in [(8 * BLOCK, 2 * BLOCK), (1000 * BLOCK, 64 * BLOCK), (100_000 * BLOCK, 1000 * BLOCK)] {
        assert_eq!(window_budget(capacity), expected, "{capacity}");
    }
}

#[test]
fn the_one_used_less_goes_and_a_tie_keeps_the_incumbent() {
    for (candidate, incumbent, expected) in [
        (1, 0, false),
        (3, 0, false),
        (4, 0, true),
        (4, 1, false),
        (5, 1, true),
        (15, 15, false),
        (15, 12, false),
        (15, 11, true),
    ] {
        assert_eq!(contest::beats(candidate, incumbent), expected, "{candidate} against {incumbent}");
    }
}

#[test]
fn removed_datasets_go_first_then_expired_then_idle() {
    let mut sim = Sim::new(100);
    for (set, names) in [(1, 0..20), (2, 20..40), (3, 40..60), (0, 60..100)] {
        for name in names {
            sim.access(name, set, 100);
        }
    }
    sim.policy.rule(1, SetRules { retired: true, ttl: None });
    sim.policy.rule(2, SetRules { retired: false, ttl: Some(50) });
    sim.policy.active(0, 100 + IDLE);
    sim.policy.active(2, 100 + IDLE);
    let mut causes = Vec::new();
    for _ in 0..65 {
        let want = sim.want(Scope::Any, BLOCK, 100 + IDLE);
        causes.push(sim.evict(want).unwrap().1);
    }
    let count = |cause| causes.iter().filter(|c| **c == cause).count();
    assert_eq!((count(Cause::Retired), count(Cause::Expired), count(Cause::Idle)), (20, 20, 20));
    assert!(causes.is_sorted_by_key(|cause| match cause {
        Cause::Retired => 0,
        Cause::Expired => 1,
        Cause::Idle => 2,
        _ => 3,
    }));
}

#[test]
fn at_its_quota_a_dataset_takes_only_from_itself() {
    let mut sim = Sim::new(100);
    for name in 0..50 {
        sim.access(name, 0, 100);
        sim.access(1000 + name, 1, 100);
    }
    sim.policy.rule(0, SetRules { retired: true, ttl: None });
    for _ in 0..50 {
        let want = sim.want(Scope::Only(1), BLOCK, 100 + IDLE);
        assert!(sim.evict(want).unwrap().0 >= 1000);
    }
    let want = sim.want(Scope::Only(1), BLOCK, 100);
    assert_eq!(sim.evict(want), None);
}

#[test]
fn a_dataset_in_use_is_not_idle() {
    let mut sim = Sim::full(0);
    sim.policy.active(0, 100 + IDLE);
    let want = sim.want(Scope::Any, BLOCK, 100 + IDLE + IDLE - 1);
    assert_eq!(sim.evict(want).unwrap().1, Cause::Lost);
    let want = sim.want(Scope::Any, BLOCK, 100 + IDLE + IDLE);
    assert_eq!(sim.evict(want).unwrap().1, Cause::Idle);
}

#[test]
fn reads_of_one_visit_count_once_and_the_first_is_the_landings_own() {
    let mut sim = Sim::new(100);
    sim.access(1, 0, 100);
    let block = sim.names[&1];
    let count = |sim: &Sim| sim.sketch.count(sim.blocks.hash(block));
    assert_eq!(count(&sim), 1);
    sim.access(1, 0, 100 + VISIT - 1);
    assert_eq!(count(&sim), 1, "same visit");
    sim.access(1, 0, 100 + VISIT);
    assert_eq!(count(&sim), 2, "second visit");
    sim.access(2, 0, 200);
    let ahead = sim.names[&2];
    sim.access(2, 0, 900);
    assert_eq!(sim.sketch.count(sim.blocks.hash(ahead)), 1, "landed ahead of its reader");
}

#[test]
fn a_chosen_block_is_in_no_list_and_not_chosen_again() {
    let mut sim = Sim::full(0);
    let want = sim.want(Scope::Any, BLOCK, 100);
    let victim = sim.policy.victim(&mut sim.blocks, &sim.sketch, want, Bid::Landed).unwrap();
    assert!(sim.blocks.link(victim.block).is(EVICTING));
    assert_eq!(sim.policy.evictable(), 99 * BLOCK);
    for _ in 0..99 {
        assert!(sim.evict(want).is_some());
    }
    assert_eq!(sim.evict(want), None);
}

#[test]
fn sorted_main_lists_evict_by_age() {
    let mut sim = Sim::new(100);
    let mut rng = Rng(3);
    for name in 0..100 {
        sim.access(name, 0, 1000 + rng.below(5000) as u32);
    }
    let mut blocks = sim.blocks;
    sim.policy.sort(&mut blocks);
    let mut at = sim.policy.sets[0].main.tail;
    let mut stamps = Vec::new();
    while at != NONE {
        stamps.push(blocks.link(at).stamp);
        at = blocks.link(at).prev;
    }
    assert!(stamps.len() > 30 && stamps.is_sorted());
}

#[test]
fn guests_have_what_is_free_and_go_before_anything_that_is_kept_here() {
    let mut sim = Sim::new(1000);
    for name in 0..600 {
        sim.access(name, 0, 100);
    }
    for name in 0..600 {
        sim.visit(10_000 + name, 0, 200);
    }
    assert!((0..600).all(|name| sim.names.contains_key(&name)), "what is kept here stays");
    assert_eq!(sim.policy.guests, 400 * BLOCK);
    for name in 600..1000 {
        sim.access(name, 0, 300);
    }
    assert!((0..1000).all(|name| sim.names.contains_key(&name)));
    assert_eq!(sim.policy.guests, 0);
}

#[test]
fn in_a_full_tier_guests_have_a_windows_worth_and_the_one_unread_longest_goes() {
    let mut sim = Sim::new(1000);
    for name in 0..1000 {
        sim.access(name, 0, 100);
    }
    for name in 0..500 {
        sim.visit(10_000 + name, 0, 200 + 20 * name as u32);
        sim.visit(10_000, 0, 200 + 20 * name as u32);
    }
    assert_eq!(sim.policy.guests, window_budget(1000 * BLOCK));
    assert!(sim.names.contains_key(&10_000), "read again and again");
    assert!(!sim.names.contains_key(&10_001));
}

#[test]
fn in_a_small_tier_guests_take_an_eighth_of_what_is_kept() {
    let mut sim = Sim::new(100);
    for name in 0..87 {
        sim.access(name, 0, 100);
    }
    // Twice in the same order, as epochs do.
    for at in 0..400 {
        sim.visit(10_000 + at % 200, 0, 200 + 20 * at as u32);
    }
    assert_eq!(sim.policy.guests, 13 * BLOCK);
    assert!((0..87).all(|name| sim.names.contains_key(&name)), "what is kept here and fits stays");
}

/// What the lists hold, counted by walking them.
fn recount(sim: &Sim) -> (u64, u64, u64) {
    let mut sums = (0, 0, 0);
    for set in &sim.policy.sets {
        for (list, sum) in [(&set.window, &mut sums.0), (&set.main, &mut sums.1), (&set.guests, &mut sums.2)] {
            let (mut at, mut bytes, mut last) = (list.head, 0, NONE);
            while at != NONE {
                bytes += sim.blocks.charge(at);
                assert_eq!(sim.blocks.link(at).prev, last);
                last = at;
                at = sim.blocks.link(at).next;
            }
            assert_eq!((bytes, last), (list.bytes, list.tail));
            *sum += bytes;
        }
    }
    sums
}

proptest! {
    #[test]
    fn lists_and_sums_agree_whatever_happens(steps in prop::collection::vec((0u8..7, 0u64..60, 0u16..4), 1..300)) {
        let mut sim = Sim::new(24);
        sim.size = Box::new(|name| 1 + (name * 7919) % BLOCK);
        let mut now = 1000;
        for (what, name, set) in steps {
            now += 3;
            match what {
                0..3 => { sim.access(name, set, now); }
                3 => {
                    let want = sim.want(Scope::Only(set), BLOCK, now);
                    sim.evict(want);
                }
                4 => {
                    if let Some(block) = sim.names.get(&name) {
                        sim.policy.reassign(&mut sim.blocks, *block, set);
                    }
                }
                5 => { sim.visit(name, set, now); }
                _ => now += IDLE,
            }
            let (window, main, guests) = recount(&sim);
            prop_assert_eq!((window, main, guests), (sim.policy.window, sim.policy.main, sim.policy.guests));
            prop_assert_eq!(window + main + guests, sim.used);
            prop_assert!(sim.used <= sim.capacity);
        }
    }
}
