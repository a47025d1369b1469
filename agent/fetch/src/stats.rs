use std::sync::atomic::{AtomicU64, Ordering};

use forebay_store::Tallied;

use crate::Class;

/// Counters since start.
#[derive(Debug, Default)]
pub struct Stats {
    reader_gets: AtomicU64,
    background_gets: AtomicU64,
    reader_bytes: AtomicU64,
    background_bytes: AtomicU64,
    peer_gets: AtomicU64,
    peer_bytes: AtomicU64,
    failed_gets: AtomicU64,
    joined: AtomicU64,
    refused: AtomicU64,
}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// GETs sent to stores for readers and their read-ahead.
    pub reader_gets: u64,
    /// GETs sent to stores for prefetch and pin.
    pub background_gets: u64,
    /// Bytes received from stores for readers.
    pub reader_bytes: u64,
    /// Bytes received from stores for prefetch and pin.
    pub background_bytes: u64,
    /// GETs sent to other nodes.
    pub peer_gets: u64,
    /// Bytes received from other nodes.
    pub peer_bytes: u64,
    /// GETs that ended with an error.
    pub failed_gets: u64,
    /// Reads that waited for a fetch which another had started.
    pub joined: u64,
    /// Blocks that the cache did not take.
    pub refused: u64,
}

impl Stats {
    /// Counts `bytes` that came, of which `tallied` says who gave them, and the GETs in it.
    pub(crate) fn got(&self, class: Class, bytes: u64, tallied: Tallied) {
        let Tallied { store_gets, peer_gets, peer_bytes } = tallied;
        let (gets, received) = match class {
            Class::Reader => (&self.reader_gets, &self.reader_bytes),
            Class::Background => (&self.background_gets, &self.background_bytes),
        };
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(gets, store_gets);
        add(received, bytes.saturating_sub(peer_bytes));
        add(&self.peer_gets, peer_gets);
        add(&self.peer_bytes, peer_bytes);
    }
    pub(crate) fn failed(&self) {
        self.failed_gets.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn joined(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
    /// The counters now.
    pub fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsSnapshot {
            reader_gets: read(&self.reader_gets),
            background_gets: read(&self.background_gets),
            reader_bytes: read(&self.reader_bytes),
            background_bytes: read(&self.background_bytes),
            peer_gets: read(&self.peer_gets),
            peer_bytes: read(&self.peer_bytes),
            failed_gets: read(&self.failed_gets),
            joined: read(&self.joined),
            refused: read(&self.refused),
        }
    }
}
