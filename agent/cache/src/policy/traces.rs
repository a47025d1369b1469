//! Simulated traces: hit ratios of the policy beside those of LRU, over a tier of blocks of one size.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the ratios are the point")]

use std::collections::{BTreeMap, HashMap};

use super::tests::Sim;

/// Deterministic pseudo-random numbers.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::mix(self.0)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn shuffle(&mut self, items: &mut [u64]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
    /// Zipf-like over `0..n`: small numbers often.
    fn skewed(&mut self, n: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((n as f64).powf(unit) - 1.0) as u64
    }
}

#[derive(Default)]
struct Lru {
    capacity: usize,
    tick: u64,
    stamps: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    fn access(&mut self, name: u64) -> bool {
        self.tick += 1;
        let old = self.stamps.insert(name, self.tick);
        if let Some(old) = old {
            self.order.remove(&old);
        } else if self.order.len() == self.capacity {
            let (_, gone) = self.order.pop_first().unwrap();
            self.stamps.remove(&gone);
        }
        self.order.insert(self.tick, name);
        old.is_some()
    }
}

const BLOCKS: u64 = 4_000;

/// Hit ratios of the policy and of LRU over a trace; each access takes a tenth of a tick, or 10 ms.
struct Race {
    sim: Sim,
    lru: Lru,
    accesses: u64,
}

impl Race {
    fn new() -> Self {
        Self { sim: Sim::new(BLOCKS), lru: Lru { capacity: BLOCKS as usize, ..Lru::default() }, accesses: 1_000_000 }
    }
    fn run(&mut self, set: u16, trace: &[u64]) -> (f64, f64) {
        let (mut ours, mut lrus) = (0, 0);
        for name in trace {
            self.accesses += 1;
            ours += u64::from(self.sim.access(*name, set, (self.accesses / 10) as u32));
            lrus += u64::from(self.lru.access(*name));
        }
        (ours as f64 / trace.len() as f64, lrus as f64 / trace.len() as f64)
    }
}

#[test]
fn an_epoch_over_ten_times_the_cache_keeps_its_share() {
    for shuffled in [false, true] {
        let mut race = Race::new();
        let mut rng = Rng(1);
        let mut trace: Vec<u64> = (0..10 * BLOCKS).collect();
        let mut ratios = Vec::new();
        for epoch in 0..6 {
            if shuffled {
                rng.shuffle(&mut trace);
            }
            let (ours, lru) = race.run(0, &trace);
            println!("shuffled={shuffled} epoch {epoch}: {ours:.4}, LRU {lru:.4}");
            if epoch > 0 {
                ratios.push(ours);
            }
        }
        let worst = ratios.iter().copied().fold(1.0, f64::min);
        assert!(worst >= 0.08, "C/N is 0.1; worst epoch {worst:.4}");
    }
}

#[test]
fn an_epoch_over_a_little_more_than_the_cache_hits_mostly() {
    let mut race = Race::new();
    let trace: Vec<u64> = (0..BLOCKS * 12 / 10).collect();
    for epoch in 0..5 {
        let (ours, lru) = race.run(0, &trace);
        println!("1.2 times the cache, epoch {epoch}: {ours:.4}, LRU {lru:.4}");
        assert!(epoch == 0 || ours >= 0.8 * 10.0 / 12.0, "{ours}");
    }
}

#[test]
fn a_new_working_set_is_taken_in_when_the_old_one_is_no_longer_read() {
    let mut race = Race::new();
    let old: Vec<u64> = (0..BLOCKS * 9 / 10).collect();
    for _ in 0..5 {
        race.run(0, &old);
    }
    // The same Dataset's idleness cannot tell: another Dataset starts, a minute later.
    race.accesses += 6_100;
    let new: Vec<u64> = (1_000_000..1_000_000 + BLOCKS * 9 / 10).collect();
    let (first, _) = race.run(1, &new);
    let (second, lru) = race.run(1, &new);
    println!("new working set: first epoch {first:.4}, second {second:.4}, LRU {lru:.4}");
    assert!(second > 0.99, "{second}");
}

#[test]
fn a_new_working_set_of_a_dataset_in_use_is_taken_in_after_some_epochs() {
    let mut race = Race::new();
    let old: Vec<u64> = (0..BLOCKS * 9 / 10).collect();
    for _ in 0..5 {
        race.run(0, &old);
    }
    let new: Vec<u64> = (1_000_000..1_000_000 + BLOCKS * 9 / 10).collect();
    let mut last = 0.0;
    for epoch in 0..7 {
        let (ours, lru) = race.run(0, &new);
        println!("same Dataset, new files, epoch {epoch}: {ours:.4}, LRU {lru:.4}");
        last = ours;
    }
    assert!(last > 0.9, "{last}");
}

#[test]
fn a_scan_does_not_flush_the_hot_set() {
    let mut race = Race::new();
    let hot: Vec<u64> = (0..BLOCKS / 2).collect();
    for _ in 0..4 {
        race.run(0, &hot);
    }
    let scan: Vec<u64> = (1_000_000..1_000_000 + 20 * BLOCKS).collect();
    // The scan belongs to a Dataset of its own; the hot one is read from time to time meanwhile.
    for part in scan.chunks(BLOCKS as usize / 4) {
        race.run(1, part);
        race.run(0, &hot[..8]);
    }
    let (ours, lru) = race.run(0, &hot);
    println!("hot set after a scan of twenty caches: {ours:.4}, LRU {lru:.4}");
    assert!(ours > 0.95, "{ours}");
}

#[test]
fn skewed_reads_hit_no_less_than_with_lru() {
    let mut race = Race::new();
    let mut rng = Rng(7);
    let trace: Vec<u64> = (0..400_000).map(|_| rng.skewed(20 * BLOCKS)).collect();
    race.run(0, &trace[..200_000]);
    let (ours, lru) = race.run(0, &trace[200_000..]);
    println!("skewed: {ours:.4}, LRU {lru:.4}");
    assert!(ours >= lru - 0.005, "{ours} {lru}");
}

#[test]
fn small_and_large_blocks_together() {
    let mut race = Race::new();
    let mut rng = Rng(9);
    let small = |name: u64| name.is_multiple_of(2);
    race.sim.size = Box::new(move |name| if small(name) { 102_400 } else { crate::BLOCK });
    let mut trace: Vec<u64> = (0..4 * BLOCKS).collect();
    let mut last = 0.0;
    for _ in 0..5 {
        rng.shuffle(&mut trace);
        last = race.run(0, &trace).0;
    }
    println!("mixed sizes, four times as many blocks as would fit if all were large: {last:.4}");
    assert!(last > 0.25, "{last}");
}
