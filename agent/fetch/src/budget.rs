use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use forebay_cache::BLOCK;

use crate::Class;
use crate::part::PART_BLOCKS;

/// Memory is counted in units of this many bytes, so that small objects do not each cost a whole block.
const UNIT: usize = 64 << 10;

/// Below this, a part could not be held whole in half of it.
const LEAST: usize = 2 * PART_BLOCKS as usize * BLOCK as usize;

/// The bound on bytes that are in flight between stores and cache, apart for readers and background work:
/// prefetch that fills its share never keeps a reader from starting.
///
/// What waits for other nodes takes at most half of a share. Else two nodes that wait for each other could each hold all the memory that
/// the other's answer needs.
#[derive(Debug)]
pub(crate) struct Budget {
    reader: Share,
    background: Share,
    /// Of blocks that are offered to the cache once more: apart, because nobody may wait for it.
    again: Arc<Semaphore>,
}

#[derive(Debug)]
struct Share {
    all: Arc<Semaphore>,
    waiting_for_peers: Arc<Semaphore>,
}

/// Memory in use, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _all: OwnedSemaphorePermit,
    _waiting_for_peers: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Bounds in bytes; each is raised to the memory of two whole parts, of which an object that is held until it is verified
    /// takes one at once. `again`: of what is offered to the cache once more.
    pub(crate) fn new(reader: usize, background: usize, again: usize) -> Self {
        let units = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(UNIT)));
        let share = |bytes: usize| Share { all: units(bytes.max(LEAST)), waiting_for_peers: units(bytes.max(LEAST) / 2) };
        Self { reader: share(reader), background: share(background), again: units(again) }
    }

    /// Memory of `len` bytes that were refused and are offered again. `None`: as many as may are on their way to the cache already.
    pub(crate) fn hold_again(&self, len: usize) -> Option<Held> {
        let units = u32::try_from(units_of(len)).unwrap_or(u32::MAX);
        Some(Held { _all: self.again.clone().try_acquire_many_owned(units).ok()?, _waiting_for_peers: None })
    }

    /// Waits until `lens` bytes (together at most a part) may be held, and gives a permit for each. `None` in their place
    /// only after the semaphore was closed, which nothing does; the caller then holds nothing.
    pub(crate) async fn hold(&self, class: Class, waits_for_peers: bool, lens: &[usize]) -> Vec<Option<Held>> {
        let share = match class {
            Class::Reader => &self.reader,
            Class::Background => &self.background,
        };
        let all = u32::try_from(lens.iter().map(|len| units_of(*len)).sum::<usize>()).unwrap_or(u32::MAX);
        // The narrower one first: who waits for it holds nothing of the wider one.
        let mut half = match waits_for_peers {
            true => share.waiting_for_peers.clone().acquire_many_owned(all).await.ok(),
            false => None,
        };
        let mut all = share.all.clone().acquire_many_owned(all).await.ok();
        let mut held = |len: usize| {
            let _waiting_for_peers = half.as_mut().and_then(|half| half.split(units_of(len)));
            Some(Held { _all: all.as_mut()?.split(units_of(len))?, _waiting_for_peers })
        };
        lens.iter().map(|len| held(*len)).collect()
    }
}

fn units_of(len: usize) -> usize {
    len.div_ceil(UNIT).max(1)
}
