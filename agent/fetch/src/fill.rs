use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_cache::Reason;
use futures::{StreamExt, TryStreamExt};

use crate::flight::End;
use crate::part::PART_BLOCKS;
use crate::{Class, FetchError, Fetcher, Remote};

/// Parts of one object that are filled at a time.
const PARTS: usize = 4;

/// How far an object came.
#[derive(Clone, Debug)]
pub enum Filled {
    /// All of it is in the cache.
    Complete,
    /// The cache did not take a block; the rest was not fetched.
    Refused(Reason),
}

impl Fetcher {
    /// Brings the missing blocks of an object into the cache, as background work. Adds the bytes that landed to
    /// `progress` as they land. Cancellation-safe: what is in the air still lands.
    pub async fn fill(&self, remote: &Arc<Remote>, progress: &AtomicU64) -> Result<Filled, FetchError> {
        let object = &remote.object;
        let runs = object.missing(0..object.blocks());
        let parts = runs.into_iter().flat_map(|run| {
            let first = run.start / PART_BLOCKS;
            let last = run.end.div_ceil(PART_BLOCKS);
            (first..last).map(move |part| run.start.max(part * PART_BLOCKS)..run.end.min((part + 1) * PART_BLOCKS))
        });
        let fill_part = |blocks: std::ops::Range<u32>| async move {
            for flight in self.launch(remote, Class::Background, blocks) {
                match flight.ended().await {
                    End::Landed => progress.fetch_add(flight.len as u64, Ordering::Relaxed),
                    End::Refused(reason) => return Err(Stop::Refused(reason)),
                    End::Failed(error) => return Err(Stop::Failed(error)),
                };
            }
            Ok(())
        };
        let filled = futures::stream::iter(parts).map(fill_part).buffer_unordered(PARTS).try_collect::<()>().await;
        match filled {
            Ok(()) => Ok(Filled::Complete),
            Err(Stop::Refused(reason)) => Ok(Filled::Refused(reason)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

enum Stop {
    Refused(Reason),
    Failed(FetchError),
}
