//! Whether a receiver takes what it is handed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The piece that one connection was handed last, until the receiver has taken it.
#[derive(Debug)]
pub(crate) struct Unsent {
    start: Instant,
    /// Milliseconds after `start` when it was handed out; 0: nothing waits to be sent.
    since: AtomicU64,
}

impl Default for Unsent {
    fn default() -> Self {
        Self { start: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Unsent {
    /// A piece is handed to the connection.
    pub(crate) fn handed_out(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(now.max(1), Ordering::Relaxed);
    }

    /// The receiver has taken it, or nothing more comes.
    pub(crate) fn taken(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// For how long the receiver has not taken it.
    pub(crate) fn age(&self) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.start.elapsed().saturating_sub(Duration::from_millis(since)),
        }
    }
}
