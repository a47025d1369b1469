use std::sync::atomic::{AtomicU64, Ordering};

use crate::{LayerChanges, Reason, Stats};

/// The counters behind [`Stats`].
pub(crate) struct Counters {
    pub(crate) hits: Vec<AtomicU64>,
    pub(crate) misses: AtomicU64,
    pub(crate) hit_bytes: AtomicU64,
    pub(crate) inserted: AtomicU64,
    pub(crate) inserted_bytes: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) promotions: AtomicU64,
    pub(crate) demotions: AtomicU64,
    pub(crate) moves_dropped: AtomicU64,
    pub(crate) verify_failures: AtomicU64,
    pub(crate) verified: AtomicU64,
    pub(crate) index_errors: AtomicU64,
    /// Changes of published files, and those of them that were made for want of room.
    pub(crate) layers_changed: AtomicU64,
    pub(crate) layers_emptied: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn new(tiers: usize) -> Self {
        Self {
            hits: (0..tiers).map(|_| AtomicU64::new(0)).collect(),
            misses: AtomicU64::new(0),
            hit_bytes: AtomicU64::new(0),
            inserted: AtomicU64::new(0),
            inserted_bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            promotions: AtomicU64::new(0),
            demotions: AtomicU64::new(0),
            moves_dropped: AtomicU64::new(0),
            verify_failures: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            index_errors: AtomicU64::new(0),
            layers_changed: AtomicU64::new(0),
            layers_emptied: AtomicU64::new(0),
            refused: Default::default(),
        }
    }

    pub(crate) fn refuse(&self, reason: Reason) {
        count(&self.refused[reason as usize], 1);
    }

    pub(crate) fn layer_changes(&self) -> LayerChanges {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LayerChanges { all: get(&self.layers_changed), urgent: get(&self.layers_emptied) }
    }

    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: self.hits.iter().map(get).collect(),
            misses: get(&self.misses),
            hit_bytes: get(&self.hit_bytes),
            inserted: get(&self.inserted),
            inserted_bytes: get(&self.inserted_bytes),
            evictions: get(&self.evictions),
            promotions: get(&self.promotions),
            demotions: get(&self.demotions),
            moves_dropped: get(&self.moves_dropped),
            refused: Reason::ALL.into_iter().map(|reason| (reason, get(&self.refused[reason as usize]))).collect(),
            verify_failures: get(&self.verify_failures),
            verified: get(&self.verified),
            index_errors: get(&self.index_errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let counters = Counters::new(1);
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            counters.refuse(reason);
        }
        assert!(counters.stats().refused.values().all(|n| *n == 1));
    }
}
