//! A bound on what this agent sends to all others together.
//!
//! | what | how |
//! |---|---|
//! | bytes a second | each piece of a body, of objects and of catalogs, is paid for before it is handed out |
//! | readers first | a background body takes a piece when the bound was left unused for a moment ([`UNUSED`]) |
//! | a body that was begun ends | each has [`SLOWEST`] at least: no more are sent at a time than there is [`room`] for |
//! | background, readers use all | waits until it began [`PATIENCE`] ago, and is sent as a reader's from then on |
//! | more than there is room for | waits for a turn as without a bound; then too many ask, which is no failure |
//!
//! The asking side leaves a body to the store, and takes the peer for one that failed, when nothing came for 5 s or when it has
//! waited for 20 s in all ([`crate::Limits`]). The longest body has 8 MiB. By the above it takes 8 s once it has begun, and
//! 11 s in the background, after 6 s at most until it was admitted and had its turn. A piece comes each quarter of a second, in
//! the background the next one after 3.25 s at worst. A catalog has the rate below which it is given up. So under the least
//! bound too whatever is begun ends, if the receiver and the store behind keep up. What gets no turn in time is answered
//! so, and left to another peer or to the store.
//!
//! How long a piece waits follows from bytes and the clock, never from what another agent does: a bound adds no circle of
//! agents that wait for each other. What is counted is what is handed to the connection: TLS and TCP come on top. A body that
//! breaks off may have paid for one piece more than it sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_store::policy::{Bandwidth, Priority};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};

use crate::{Answer, BodyError};

/// The least bound in bytes a second: there is room for eight bodies.
pub const LEAST_BANDWIDTH: u64 = 8 << 20;

/// Bytes a second that each body has. An asking side gives up a catalog that comes slower.
const SLOWEST: u64 = 1 << 20;
/// Bytes that are paid for at a time.
const PIECE: usize = 256 << 10;
/// What readers leave unused for so long is the background's. Longer than the next piece of a body takes to come, and short
/// enough for the burst that the bound allows to make up for it.
const UNUSED: Duration = Duration::from_millis(20);
/// So long after it began a background body waits for readers no more.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bodies at a time that a bound has room for, of a kind that may use one `share`th of it.
pub(crate) fn room(bytes_per_second: u64, share: u64) -> usize {
    usize::try_from(bytes_per_second.max(LEAST_BANDWIDTH) / SLOWEST / share).unwrap_or(usize::MAX)
}

/// What all bodies take their turns from.
pub(crate) struct Throttle {
    /// All that is sent goes into the readers' lane: with a lane of its own the background would go beyond the bound, by what
    /// it sends while readers use all.
    bandwidth: Mutex<Bandwidth>,
    start: Instant,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let bandwidth = Mutex::new(Bandwidth::new(bytes_per_second.max(LEAST_BANDWIDTH)));
        Self { bandwidth, start: Instant::now() }
    }

    /// The same bytes, each piece in its turn.
    pub(crate) fn pace(self: &Arc<Self>, pieces: Answer, priority: Priority) -> Answer {
        let paced = Paced { throttle: self.clone(), pieces, rest: Bytes::new(), priority, since: Instant::now() };
        let paced = stream::try_unfold(paced, |mut paced| async move {
            let next = paced.next().await;
            next.map(|piece| piece.map(|piece| (piece, paced)))
        });
        paced.boxed()
    }

    /// Waits until `len` bytes may go, of a body that began at `since`. Dropped while it waits, it may have paid for them.
    async fn turn(&self, priority: Priority, len: usize, since: Instant) {
        loop {
            let patience = (since + PATIENCE).saturating_duration_since(Instant::now());
            let waits_for_readers = priority == Priority::Prefetch && !patience.is_zero();
            match self.try_take(waits_for_readers, len) {
                Ok(wait) if wait.is_zero() => return,
                Ok(wait) => return sleep(wait).await,
                Err(wait) => sleep(wait.min(patience)).await,
            }
        }
    }

    /// Takes `len` bytes: they are to be held back for so long. `Err`: none are taken, and it is to ask again after so long.
    fn try_take(&self, waits_for_readers: bool, len: usize) -> Result<Duration, Duration> {
        let now = self.start.elapsed();
        let mut bandwidth = self.bandwidth.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = bandwidth.readers_paid_off().saturating_sub(now.saturating_sub(UNUSED));
        if waits_for_readers && !busy.is_zero() {
            return Err(busy);
        }
        Ok(bandwidth.take(Priority::Reader, len, now))
    }
}

/// A body on its way.
struct Paced {
    throttle: Arc<Throttle>,
    pieces: Answer,
    /// What of the newest piece has not had its turn.
    rest: Bytes,
    priority: Priority,
    since: Instant,
}

impl Paced {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while self.rest.is_empty() {
            match self.pieces.next().await {
                Some(piece) => self.rest = piece?,
                None => return Ok(None),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.throttle.turn(self.priority, piece.len(), self.since).await;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests;
