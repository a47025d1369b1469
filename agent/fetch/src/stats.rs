use std::sync::atomic::{AtomicU64, Ordering};

use crate::Class;

/// Counters since start.
#[derive(Debug, Default)]
pub struct Stats {
    reader_gets: AtomicU64,
    background_gets: AtomicU64,
    reader_bytes: AtomicU64,
    background_bytes: AtomicU64,
    failed_gets: AtomicU64,
    joined: AtomicU64,
    refused: AtomicU64,
}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// GETs sent for readers and their read-ahead.
    pub reader_gets: u64,
    /// GETs sent for prefetch and pin.
    pub background_gets: u64,
    /// Bytes received for readers.
    pub reader_bytes: u64,
    /// Bytes received for prefetch and pin.
    pub background_bytes: u64,
    /// GETs that ended with an error.
    pub failed_gets: u64,
    /// Reads that waited for a fetch which another had started.
    pub joined: u64,
    /// Blocks that the cache did not take.
    pub refused: u64,
}

impl Stats {
    pub(crate) fn got(&self, class: Class, bytes: u64) {
        match class {
            Class::Reader => &self.reader_bytes,
            Class::Background => &self.background_bytes,
        }
        .fetch_add(bytes, Ordering::Relaxed);
    }
    pub(crate) fn get(&self, class: Class) {
        match class {
            Class::Reader => &self.reader_gets,
            Class::Background => &self.background_gets,
        }
        .fetch_add(1, Ordering::Relaxed);
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
            failed_gets: read(&self.failed_gets),
            joined: read(&self.joined),
            refused: read(&self.refused),
        }
    }
}
