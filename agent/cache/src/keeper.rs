//! What a cache does by itself: writes the index in batches, frees what has expired, keeps the reserve free, tries failed
//! directories again. One thread, woken twice a second; tests call the parts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::counters::count;
use crate::inner::Inner;
use crate::policy::TICKS;
use crate::shared::lock;

const PAUSE: Duration = Duration::from_millis(500);
/// Ticks between two sweeps for expired blocks.
const SWEEP: u32 = 30 * TICKS;
/// Blocks evicted for the reserve in one round.
const TRIMMED: u32 = 1024;

/// When the keeper runs.
#[derive(Default)]
pub(crate) struct Bell {
    stopped: Mutex<bool>,
    ring: Condvar,
    swept: AtomicU32,
}

impl Bell {
    /// Waits for the next round; `false` when it was stopped.
    pub(crate) fn wait(&self) -> bool {
        let stopped = lock(&self.stopped);
        if *stopped {
            return false;
        }
        let (stopped, _) = self.ring.wait_timeout(stopped, PAUSE).unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }

    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.ring.notify_all();
    }
}

impl Inner {
    /// One round.
    pub(crate) fn keep(&self, bell: &Bell) {
        self.flush_index();
        self.revive();
        for tier in &self.tiers {
            tier.note_native_use();
            tier.look_outside();
            tier.keep_native();
        }
        self.trim();
        // What could not be evicted when the quota was lowered, or was found since.
        self.enforce_quotas();
        let now = self.shared.tick();
        if now.saturating_sub(bell.swept.load(Ordering::Relaxed)) >= SWEEP {
            bell.swept.store(now, Ordering::Relaxed);
            self.expire();
        }
    }

    /// Writes what the index lacks, and waits until it is on the disk.
    pub(crate) fn flush_index(&self) {
        let mut changed = false;
        for tier in &self.tiers {
            changed |= !tier.state().dirty.is_empty();
            tier.flush_index();
            if let Err(e) = tier.settle_ledger(0) {
                tier.fault("write", "ledger", &e);
            }
        }
        if changed && let Err(e) = self.shared.index.flush() {
            self.tiers[0].index_failed(&e);
            for tier in &self.tiers {
                tier.state().index_behind = true;
            }
        }
    }

    /// Tries directories again that could not be used so far.
    fn revive(&self) {
        for tier in &self.tiers {
            if tier.is_shut() && !tier.is_paused() {
                self.start(tier);
            }
        }
    }

    /// Takes a tier into use and reads its part of the index.
    pub(crate) fn start(&self, tier: &crate::tier::Tier) {
        match tier.activate() {
            Ok(start) => {
                tier.well();
                tier.load(start);
            }
            Err(e) => tier.fault("use", "the tier's directory", &e),
        }
    }

    /// Evicts what is beyond a tier's capacity or stands in its reserve; the bytes evicted, about. Where that gives the disk nothing back, no
    /// more at a time than it lacks.
    pub(crate) fn trim(&self) -> u64 {
        let mut trimmed = 0;
        for tier in &self.tiers {
            for _ in 0..TRIMMED {
                let Some((id, block, victim)) = tier.excess() else { break };
                let before = tier.state().account.bytes;
                tier.trimmed(self.evict(tier.number, id, block, victim, true));
                trimmed += before.saturating_sub(tier.state().account.bytes);
            }
        }
        trimmed
    }

    /// Frees every block that was not read within its Dataset's TTL.
    pub(crate) fn expire(&self) {
        for tier in &self.tiers {
            for (id, block) in tier.expired() {
                let stripe = self.shared.stripe(&id);
                if tier.evict(id, block, &stripe, |_, _, _| false).is_some() {
                    count(&self.shared.counters.evictions, 1);
                }
            }
        }
    }

    /// Flushes everything and leaves a token in the tiers and the index, which says that they belong together.
    pub(crate) fn finish(&self) {
        self.drain();
        for tier in &self.tiers {
            // Shut before the close: nothing may be written into a directory that was never taken.
            if tier.is_shut() {
                continue;
            }
            let written = tier.write_entries(true);
            let known = tier.flush_index() && written.is_ok() && tier.is_accounted();
            let token = self.shared.token();
            let mut sealed = known && self.shared.index.flush().is_ok();
            sealed = sealed && self.shared.index.set_token(&tier.name, Some(token)).is_ok();
            if let Err(e) = tier.settle_ledger(if sealed { token } else { 0 }) {
                tier.fault("write", "ledger", &e);
            }
        }
        self.let_go();
    }

    /// Gives the directories and the index up.
    pub(crate) fn let_go(&self) {
        for tier in &self.tiers {
            tier.release();
        }
        self.shared.index.close();
    }
}
