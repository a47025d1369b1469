use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Class;

/// Memory is counted in units of this many bytes, so that small objects do not each cost a whole block.
const UNIT: usize = 64 << 10;

/// The bound on bytes that are in flight between stores and cache, apart for readers and background work:
/// prefetch that fills its share never keeps a reader from starting.
#[derive(Debug)]
pub(crate) struct Budget {
    reader: Arc<Semaphore>,
    background: Arc<Semaphore>,
}

impl Budget {
    /// Bounds in bytes; each is raised to at least two blocks, below which a stream could not move on while its
    /// previous block is being written.
    pub(crate) fn new(reader: usize, background: usize) -> Self {
        let units = |bytes: usize| Arc::new(Semaphore::new(bytes.max(2 << 20).div_ceil(UNIT)));
        Self { reader: units(reader), background: units(background) }
    }

    /// Waits until `len` bytes (at most a block) may be held. `None` only after the semaphore was closed, which
    /// nothing does; the caller then holds nothing.
    pub(crate) async fn hold(&self, class: Class, len: usize) -> Option<OwnedSemaphorePermit> {
        let semaphore = match class {
            Class::Reader => &self.reader,
            Class::Background => &self.background,
        };
        let units = u32::try_from(len.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        semaphore.clone().acquire_many_owned(units).await.ok()
    }
}
