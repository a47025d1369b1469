//! One tier: a directory with cached files, the table of what is in them, and the account of what they cost.
//!
//! Locks: an object's stripe (see [`Shared`]) before the tier's state before the sketch. I/O that changes an object's files
//! happens under its stripe and never under the state's lock; readers take no stripe.

mod adopt;
mod charge;
mod effort;
mod health;
mod lease;
mod leases;
mod ledger;
mod load;
mod metafile;
mod natives;
mod objects;
mod pin;
mod pinners;
mod publish;
mod read;
mod remove;
mod report;
mod room;
mod scan;
mod slab;
mod state;
mod write;

use std::sync::{Arc, Mutex, MutexGuard};

#[cfg(test)]
pub(crate) use charge::BASE;
pub(crate) use effort::Effort;
pub(crate) use leases::Wanted;
pub(crate) use objects::{Key, LEASED, PINNED};
pub(crate) use read::Trust;
pub(crate) use room::{Claim, Reservation};
pub(crate) use scan::Halt;
pub(crate) use state::{Landed, Phase, State};

use crate::io::TierIo;
use crate::shared::{Shared, lock};
use crate::{Medium, ObjectId, TierConfig};

/// One tier of the cache.
pub(crate) struct Tier {
    /// Its place in the order of tiers, fastest first.
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    pub(crate) medium: Medium,
    pub(crate) capacity: u64,
    pub(crate) reserve: u64,
    io: Arc<dyn TierIo>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    health: Mutex<health::Health>,
    free: Mutex<room::Free>,
}

/// An object as its handle names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) id: ObjectId,
    pub(crate) size: u64,
}

/// An object's stripe, held.
pub(crate) type Stripe<'a> = MutexGuard<'a, ()>;

/// What a block is about to be stored as.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) name: Name,
    pub(crate) number: u32,
    pub(crate) data: &'a [u8],
    /// CRC-32C of the data.
    pub(crate) crc: u32,
}

impl Tier {
    pub(crate) fn new(number: usize, config: &TierConfig, io: Arc<dyn TierIo>, shared: Arc<Shared>) -> Self {
        Self {
            number,
            name: config.name.as_str().into(),
            medium: config.medium,
            capacity: config.capacity,
            reserve: config.reserve,
            io,
            shared,
            state: Mutex::new(State::new(config.capacity)),
            health: Mutex::default(),
            free: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether this tier holds a block; asks the disk when memory may not know. A caller that has the object's stripe gives it.
    pub(crate) fn has(&self, name: Name, block: u32, stripe: Option<&Stripe<'_>>) -> bool {
        self.with(name, stripe, |state, key| state.objects.block(key, block).is_some()).unwrap_or(false)
    }

    /// Looks at an object with the state locked, after its file was asked if that is due. `None` when the tier has
    /// nothing of it.
    pub(crate) fn with<T>(&self, name: Name, stripe: Option<&Stripe<'_>>, look: impl FnOnce(&mut State, Key) -> T) -> Option<T> {
        for _ in 0..3 {
            let mut state = self.state();
            match state.objects.find(&name.id) {
                Some(key) if state.is_stale(key) => {
                    drop(state);
                    self.refresh(name.id, stripe);
                }
                // The size is part of the id: another one cannot be ours.
                Some(key) => return (state.objects.size_of(key) == name.size).then(|| look(&mut state, key)),
                None if matches!(state.phase, Phase::Shut | Phase::Whole) => return None,
                None => {
                    drop(state);
                    if !self.adopt(name.id, stripe) {
                        return None;
                    }
                }
            }
        }
        None
    }
}
