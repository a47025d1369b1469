use std::sync::atomic::{AtomicU64, Ordering};

/// Who answered one fetch: filled by the store while the fetch goes on, emptied by whoever keeps count.
#[derive(Debug, Default)]
pub struct Tally {
    store_gets: AtomicU64,
    peer_gets: AtomicU64,
    peer_bytes: AtomicU64,
}

/// What was in a [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// GETs sent to the store itself.
    pub store_gets: u64,
    /// GETs sent to other nodes instead.
    pub peer_gets: u64,
    /// Bytes that other nodes gave.
    pub peer_bytes: u64,
}

impl Tally {
    /// The store itself is asked.
    pub fn store_get(&self) {
        self.store_gets.fetch_add(1, Ordering::Relaxed);
    }

    /// Another node is asked.
    pub fn peer_get(&self) {
        self.peer_gets.fetch_add(1, Ordering::Relaxed);
    }

    /// Another node gave so many bytes, which are handed out next.
    pub fn peer_bytes(&self, bytes: u64) {
        self.peer_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes out what is in.
    pub fn take(&self) -> Tallied {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Tallied { store_gets: take(&self.store_gets), peer_gets: take(&self.peer_gets), peer_bytes: take(&self.peer_bytes) }
    }
}
