use std::sync::atomic::{AtomicU64, Ordering};

use crate::StoreErrorKind;

/// What has happened at a store since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests sent, repetitions included.
    pub requests: u64,
    /// Repetitions among them.
    pub retries: u64,
    /// Body bytes received.
    pub bytes: u64,
    /// Failed tries: any kind.
    pub failures: u64,
    /// Failed tries: the store asked to slow down.
    pub throttled: u64,
    /// Failed tries: a time limit passed.
    pub timeouts: u64,
    /// Bodies that did not match the store's checksum.
    pub corrupt: u64,
    /// Calls given up because the retry budget was used up.
    pub over_budget: u64,
    /// Readers' requests and bodies alive now.
    pub readers: usize,
    /// Prefetch's requests and bodies alive now.
    pub prefetches: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    throttled: AtomicU64,
    timeouts: AtomicU64,
    corrupt: AtomicU64,
    over_budget: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn request(&self) {
        add(&self.requests, 1);
    }
    pub(super) fn retry(&self) {
        add(&self.retries, 1);
    }
    pub(super) fn bytes(&self, bytes: usize) {
        add(&self.bytes, bytes as u64);
    }
    pub(super) fn over_budget(&self) {
        add(&self.over_budget, 1);
    }
    pub(super) fn failure(&self, kind: &StoreErrorKind) {
        add(&self.failures, 1);
        match kind {
            StoreErrorKind::Throttled => add(&self.throttled, 1),
            StoreErrorKind::Timeout => add(&self.timeouts, 1),
            StoreErrorKind::Corrupt => add(&self.corrupt, 1),
            _ => {}
        }
    }

    pub(super) fn snapshot(&self, (readers, prefetches): (usize, usize)) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: get(&self.requests),
            retries: get(&self.retries),
            bytes: get(&self.bytes),
            failures: get(&self.failures),
            throttled: get(&self.throttled),
            timeouts: get(&self.timeouts),
            corrupt: get(&self.corrupt),
            over_budget: get(&self.over_budget),
            readers,
            prefetches,
        }
    }
}
