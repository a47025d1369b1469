use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache::{BLOCK, Object};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::budget::Budget;
use crate::buffer::Pool;
use crate::flight::{Flight, Flights};
use crate::landing::Landings;
use crate::part::{self, PART_BLOCKS, block_range};
use crate::stats::Stats;
use crate::{Class, File, Remote, StatsSnapshot};

/// How long after the cache refused a block a reader of it has it offered again.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// How often a block is looked for that the cache has and does not give.
const TRIES: u32 = 3;

/// What may be on its way ahead of readers, an eighth of what is theirs by default.
const AHEAD_KIB: u32 = 4 << 10;

/// Bounds of a [`Fetcher`].
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Bytes that may be in flight for readers.
    pub reader_memory: usize,
    /// Bytes that may be in flight for prefetch.
    pub background_memory: usize,
    /// Blocks that may be ahead of one sequential reader. Keep it well below the smallest tier's window: what is
    /// read ahead must still be there when its reader comes.
    pub max_ahead: u32,
    /// Refused blocks kept in memory for readers that take them in pieces. The memory of as many may be on its way to the cache once more.
    pub linger: usize,
}

impl Default for FetchConfig {
    /// Together at most 64 MiB.
    fn default() -> Self {
        Self { reader_memory: 32 << 20, background_memory: 16 << 20, max_ahead: 128, linger: 8 }
    }
}

/// The way of all bytes into the cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) flights: Flights,
    pub(crate) budget: Budget,
    pub(crate) stats: Stats,
    pub(crate) config: FetchConfig,
    pub(crate) landings: Landings,
    pub(crate) pool: Pool,
    /// What may be on its way before it is asked for, in KiB.
    ahead: Arc<Semaphore>,
    pub(crate) runtime: Handle,
}

impl Fetcher {
    /// Fetches run on `runtime`.
    pub fn new(config: FetchConfig, runtime: Handle) -> Self {
        let inner = Inner {
            flights: Flights::new(config.linger),
            budget: Budget::new(config.reader_memory, config.background_memory, config.linger.saturating_mul(BLOCK as usize)),
            stats: Stats::default(),
            config,
            landings: Landings::default(),
            pool: Pool::default(),
            ahead: Arc::new(Semaphore::new(AHEAD_KIB as usize)),
            runtime,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A file to read from. Costs nothing until it is read.
    pub fn open(&self, remote: Remote) -> File {
        File::new(self.clone(), remote)
    }

    /// Counters since start.
    pub fn stats(&self) -> StatsSnapshot {
        self.inner.stats.snapshot()
    }

    /// Blocks in the air or lingering.
    pub fn in_flight(&self) -> usize {
        self.inner.flights.len()
    }

    /// Brings a whole small object in before anybody reads it. `false`: enough is on its way already, and this was not begun.
    pub fn ahead(&self, remote: Remote) -> bool {
        let kib = u32::try_from(remote.object.size().div_ceil(1024)).unwrap_or(u32::MAX).max(1);
        let Ok(permit) = self.inner.ahead.clone().try_acquire_many_owned(kib) else { return false };
        let (fetcher, remote) = (self.clone(), Arc::new(remote));
        let flights = fetcher.launch(&remote, Class::Reader, 0..remote.object.blocks());
        self.inner.runtime.spawn(async move {
            for flight in flights {
                let _ = flight.ended().await;
            }
            drop(permit);
        });
        true
    }

    /// Sees to it that each missing block of `blocks` is on its way: joins what flies, starts what does not.
    /// Returns the flights that are in the air for the range, in order of blocks.
    pub(crate) fn launch(&self, remote: &Arc<Remote>, class: Class, blocks: Range<u32>) -> Vec<Arc<Flight>> {
        self.launch_if(remote, class, blocks, |block| !remote.object.has(block))
    }

    /// The flight of a block that the cache has just not given. `None`: the cache has it after all, for it may have landed between the two looks,
    /// and it is to be read again. But not for ever: one that is there and cannot be read now, as for want of descriptors or memory, comes
    /// from the store. `tries` counts the looks.
    pub(crate) fn launch_unread(&self, remote: &Arc<Remote>, class: Class, block: u32, tries: &mut u32) -> Option<Arc<Flight>> {
        *tries += 1;
        let last = *tries >= TRIES;
        self.launch_if(remote, class, block..block + 1, |block| last || !remote.object.has(block)).pop()
    }

    /// [`Fetcher::launch`] for the blocks that are `wanted`, whatever the cache has of them.
    fn launch_if(
        &self,
        remote: &Arc<Remote>,
        class: Class,
        blocks: Range<u32>,
        wanted: impl Fn(u32) -> bool,
    ) -> Vec<Arc<Flight>> {
        let object = &remote.object;
        let id = object.id();
        let (mut all, mut offered) = (Vec::new(), Vec::new());
        let mut runs: Vec<Vec<Arc<Flight>>> = Vec::new();
        {
            // The lock is held over both questions: a flight leaves the table only after its block is in the
            // cache, so a block that is in neither place here really is nowhere.
            let mut shard = self.inner.flights.shard(&id);
            for block in blocks {
                let flying = shard.get(&(id, block)).cloned();
                if let Some(flight) = flying {
                    self.inner.stats.joined();
                    // The cache may have room by now for what lingers. A reader takes a block in pieces, which are not worth a try each.
                    let ago = if class == Class::Background { Duration::ZERO } else { OFFER_AGAIN };
                    let again = flight.again(ago, |len| self.inner.budget.hold_again(len));
                    all.push(again.map_or(flight, |again| {
                        let again = Arc::new(again);
                        shard.insert((id, block), again.clone());
                        offered.push(again.clone());
                        again
                    }));
                } else if wanted(block) {
                    let flight = Arc::new(Flight::new(block, block_len(object, block)));
                    shard.insert((id, block), flight.clone());
                    all.push(flight.clone());
                    match runs.last_mut() {
                        Some(run) if continues(run, block) => run.push(flight),
                        _ => runs.push(vec![flight]),
                    }
                }
            }
        }
        if !offered.is_empty() {
            self.inner.land(remote, offered);
        }
        for run in runs {
            self.inner.runtime.spawn(part::fetch(self.inner.clone(), remote.clone(), class, run));
        }
        all
    }
}

fn block_len(object: &Object, block: u32) -> usize {
    let range = block_range(block, object.size());
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}

/// Whether `block` may join the GET of `run`: it is the next one, and the GET does not cross a part's boundary.
fn continues(run: &[Arc<Flight>], block: u32) -> bool {
    run.last().is_some_and(|last| last.block + 1 == block) && !block.is_multiple_of(PART_BLOCKS)
}
