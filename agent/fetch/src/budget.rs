use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use forebay_cache::BLOCK;

use crate::Class;
use crate::part::PART_BLOCKS;

/// Memory is counted in units of this many bytes, so that small objects do not each cost a whole block.
const UNIT: usize = 64 << 10;

/// Below this, a part could not be held whole.
const LEAST: usize = PART_BLOCKS as usize * BLOCK as usize;

/// The bound on bytes that are in flight between stores and cache, apart for readers and background work:
/// prefetch that fills its share never keeps a reader from starting.
#[derive(Debug)]
pub(crate) struct Budget {
    reader: Arc<Semaphore>,
    background: Arc<Semaphore>,
}

impl Budget {
    /// Bounds in bytes; each is raised to the memory of one whole part, which an object that is held until it is verified
    /// takes at once.
    pub(crate) fn new(reader: usize, background: usize) -> Self {
        let units = |bytes: usize| Arc::new(Semaphore::new(bytes.max(LEAST).div_ceil(UNIT)));
        Self { reader: units(reader), background: units(background) }
    }

    /// Waits until `lens` bytes (together at most a part) may be held, and gives a permit for each. `None` in their place
    /// only after the semaphore was closed, which nothing does; the caller then holds nothing.
    pub(crate) async fn hold(&self, class: Class, lens: &[usize]) -> Vec<Option<OwnedSemaphorePermit>> {
        let semaphore = match class {
            Class::Reader => &self.reader,
            Class::Background => &self.background,
        };
        let units = |len: usize| len.div_ceil(UNIT).max(1);
        let all = lens.iter().map(|len| units(*len)).sum::<usize>();
        let mut all = semaphore.clone().acquire_many_owned(u32::try_from(all).unwrap_or(u32::MAX)).await.ok();
        lens.iter().map(|len| all.as_mut().and_then(|all| all.split(units(*len)))).collect()
    }
}
