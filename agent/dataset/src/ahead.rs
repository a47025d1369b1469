//! Brings in a directory's next small files while its files are opened in order: otherwise there are never more requests on their
//! way than threads that read.

mod plan;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use plan::Orders;

use crate::dataset::Inner;
use crate::generation::Generation;

/// Larger files keep the store busy by themselves.
const SMALL: u64 = 256 << 10;
/// Opens after a miss that are looked at. While all is cached, an open costs no more than a look at a counter.
const LOOK: u32 = 256;

#[derive(Debug, Default)]
pub(crate) struct Ahead {
    orders: Mutex<Orders>,
    /// Opens that are still to be looked at.
    look: AtomicU32,
    /// A prefetch is at work. It brings the files in anyway, and what is brought in here would wait behind it.
    prefetches: AtomicBool,
}

/// As long as it lives, nothing is brought in ahead of readers.
pub(crate) struct Left<'a>(&'a AtomicBool);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Ahead {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves it to a prefetch; there is one at a time.
    pub(crate) fn leave(&self) -> Left<'_> {
        self.prefetches.store(true, Ordering::Relaxed);
        Left(&self.prefetches)
    }
}

impl Inner {
    /// A file was opened.
    pub(crate) fn opened(&self, generation: &Generation, file: u32) {
        let look = &self.ahead.look;
        if look.load(Ordering::Relaxed) > 0 {
            look.fetch_sub(1, Ordering::Relaxed);
            self.look_ahead(generation, file);
        }
    }

    /// A file was opened and is not in the cache.
    pub(crate) fn missed(&self, generation: &Generation, file: u32) {
        if self.ahead.look.swap(LOOK, Ordering::Relaxed) == 0 {
            self.look_ahead(generation, file);
        }
    }

    fn look_ahead(&self, generation: &Generation, file: u32) {
        let catalog = &generation.catalog;
        let Some(entry) = catalog.entry(file).filter(|entry| entry.size() <= SMALL) else { return };
        if self.ahead.prefetches.load(Ordering::Relaxed) {
            return;
        }
        let dir = entry.parent();
        let Some(files) = catalog.entry(dir).map(|dir| dir.child_range()) else { return };
        let plan = self.ahead.orders().on_open(generation.number, dir, files, file);
        let Some(ahead) = plan else { return };
        for at in ahead.range.step_by(ahead.step as usize) {
            let next = catalog.entry(at).filter(|next| !next.is_dir() && next.parent() == dir && next.size() <= SMALL);
            let Some(mut remote) = next.and_then(|next| self.remote(&next, None)) else { continue };
            if remote.object.is_complete() {
                continue;
            }
            // Whoever reads something else goes first at the store.
            remote.reader = remote.background.clone();
            if !self.fetcher.ahead(remote) {
                let mut orders = self.ahead.orders();
                return orders.begun_before(generation.number, dir, at);
            }
        }
    }
}
