//! The last step of a block: into the cache, on threads that may wait for the disk.
//!
//! A thread that is at it takes all that comes meanwhile. A thread started for each block would cost two wake-ups and two
//! switches a block, which for a small file is as much as writing it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_cache::{Inserted, Reason};

use crate::Remote;
use crate::fetcher::Inner;
use crate::flight::{End, Flight};

/// Threads that write at a time: as many as a disk makes use of.
const WRITERS: usize = 8;

/// Blocks that are whole and wait to be written. Bounded by the memory that their flights hold.
#[derive(Debug, Default)]
pub(crate) struct Landings(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Arc<Remote>, Vec<Arc<Flight>>)>,
    writers: usize,
}

impl Landings {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes whole blocks to the cache and ends their flights, in a while.
    pub(crate) fn land(self: &Arc<Self>, remote: &Arc<Remote>, flights: Vec<Arc<Flight>>) {
        let mut queue = self.landings.queue();
        queue.waiting.push_back((remote.clone(), flights));
        // A second writer only helps when the first does not keep up.
        if queue.writers < WRITERS && queue.waiting.len() > queue.writers {
            queue.writers += 1;
            drop(queue);
            let inner = self.clone();
            self.runtime.spawn_blocking(move || inner.write_waiting());
        }
    }

    /// Writes until nothing waits any more.
    fn write_waiting(&self) {
        loop {
            let mut queue = self.landings.queue();
            let Some((remote, flights)) = queue.waiting.pop_front() else {
                // Under the same lock as the look: what is added from now on starts another writer.
                queue.writers -= 1;
                return;
            };
            drop(queue);
            flights.iter().for_each(|flight| self.write(&remote, flight));
        }
    }

    fn write(&self, remote: &Remote, flight: &Arc<Flight>) {
        let Some(bytes) = flight.full() else { return };
        // A panic of the cache is a fault as any other: nobody may wait for this block, or for those behind it, for ever.
        let offer = || remote.object.insert(flight.block, &bytes, remote.landing.clone());
        let end = match catch_unwind(AssertUnwindSafe(offer)) {
            Ok(Inserted::Stored { .. }) => End::Landed,
            Ok(Inserted::Refused(reason)) => End::Refused(reason),
            Err(_) => End::Refused(Reason::Faulted),
        };
        if matches!(end, End::Refused(_)) {
            self.stats.refused();
        }
        self.flights.retire(&remote.object.id(), flight, &end);
        flight.finish(end);
    }
}
