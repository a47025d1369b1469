//! Brings the wanted files into the cache and pins what is to be pinned.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_cache::Reason;
use forebay_catalog::Entry;
use forebay_crds::dataset::PrefetchOrder;
use forebay_fetch::{Filled, Remote};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::dataset::Inner;
use crate::generation::Generation;
use crate::plan::{self, Step};

/// Files between the walk over the catalog and those at work.
const AHEAD: usize = 64;

/// How a pass over the plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing is wanted.
    Nothing,
    /// All files are in.
    Complete,
    /// Some files failed.
    Failed,
    /// So many files were in and are not any more, though all would fit: found damaged meanwhile, or evicted by others.
    Lost(usize),
    /// The cache takes no more.
    DoesNotFit(String),
}

impl Inner {
    /// One pass over everything wanted of `generation`. What is in already costs a look, so a pass after a restart
    /// goes on where the former process stopped. Cancellation-safe.
    pub(crate) async fn bring_in(self: &Arc<Self>, generation: &Arc<Generation>) -> Pass {
        let steps = plan::steps(&self.settings.pins, &self.settings.prefetch.paths);
        if steps.is_empty() {
            return Pass::Nothing;
        }
        let _left = self.ahead.leave();
        self.measure(generation, &steps).await;
        self.room.store(self.room(), Ordering::Relaxed);
        self.not_fetched.reset();
        let copies = self.share.as_ref().map_or(1, |share| share.copies());
        for (step, rank) in plan::passes(&steps, copies) {
            if let Err(reason) = self.run_step(generation, &step, rank).await {
                return Pass::DoesNotFit(reason);
            }
        }
        if !self.not_fetched.is_empty() {
            return Pass::Failed;
        }
        match self.missing(generation, &steps).await {
            0 => Pass::Complete,
            lost => Pass::Lost(lost),
        }
    }

    /// Bytes that the Dataset can count on in the cache: its quota, or the tiers less what others have pinned. A
    /// sixteenth is left for the overhead of files and for blocks that are read past the plan.
    fn room(&self) -> u64 {
        let usage = self.cache.usage();
        let capacity: u64 = usage.tiers.iter().map(|tier| tier.capacity).sum();
        let others = usage.datasets.iter().filter(|(name, _)| **name != self.settings.name);
        let pinned: u64 = others.map(|(_, used)| used.pinned).sum();
        let room = capacity.saturating_sub(pinned);
        self.settings.quota.map_or(room - room / 16, |quota| quota.min(room - room / 16))
    }

    /// Whether a file of the plan is not wholly in the cache.
    pub(crate) async fn anything_missing(self: &Arc<Self>, generation: &Arc<Generation>) -> bool {
        let steps = plan::steps(&self.settings.pins, &self.settings.prefetch.paths);
        self.missing(generation, &steps).await > 0
    }

    /// How many files of the plan are not wholly in the cache. Looks at the cache's memory only.
    async fn missing(self: &Arc<Self>, generation: &Arc<Generation>, steps: &[Step]) -> usize {
        let (inner, generation, steps) = (self.clone(), generation.clone(), steps.to_vec());
        let count = move || {
            let is_missing = |step: &Step, entry: &Entry<'_>| {
                let lacks = |remote: Remote| !remote.object.is_complete() && inner.keeps(&remote);
                step.covers(&entry.path()) && inner.remote(entry, None).is_some_and(lacks)
            };
            let lost = |step: &Step| generation.catalog.walk(&step.path).filter(|entry| is_missing(step, entry)).count();
            steps.iter().map(lost).sum()
        };
        tokio::task::spawn_blocking(count).await.unwrap_or(0)
    }

    /// Whether this node is one of those that keep the object.
    pub(crate) fn keeps(&self, remote: &Remote) -> bool {
        self.rank(remote).is_some()
    }

    /// Counts the plan, on a thread of its own: it reads the whole catalog.
    async fn measure(self: &Arc<Self>, generation: &Arc<Generation>, steps: &[Step]) {
        let (inner, generation, steps) = (self.clone(), generation.clone(), steps.to_vec());
        let count = move || {
            let (mut totals, mut to_pin) = ((0u64, 0u64), 0u64);
            for step in &steps {
                for entry in generation.catalog.walk(&step.path) {
                    let keeps = || inner.share.is_none() || inner.remote(&entry, None).is_some_and(|remote| inner.keeps(&remote));
                    if step.covers(&entry.path()) && keeps() {
                        totals = (totals.0 + 1, totals.1 + entry.size());
                        to_pin += if step.pin { entry.size() } else { 0 };
                    }
                }
            }
            (totals, to_pin)
        };
        if let Ok(((files, bytes), to_pin)) = tokio::task::spawn_blocking(count).await {
            self.prefetch.begin(files, bytes);
            self.to_pin.store(to_pin, Ordering::Relaxed);
        }
    }

    /// Brings in what of the step this node keeps with that rank.
    async fn run_step(self: &Arc<Self>, generation: &Arc<Generation>, step: &Step, rank: usize) -> Result<(), String> {
        let (wanted, inbox) = mpsc::channel(AHEAD);
        let (inner, generation, step) = (self.clone(), generation.clone(), step.clone());
        let pin = step.pin;
        // Reading the catalog may wait for the disk, so it is done apart; it ends when nobody takes any more.
        let walk = tokio::task::spawn_blocking(move || inner.walk(&generation, &step, rank, &wanted));
        let done = ReceiverStream::new(inbox)
            .map(|wanted| self.bring_in_file(wanted, pin))
            .buffer_unordered(self.settings.prefetch.concurrency.max(1))
            .try_collect()
            .await;
        let _ = walk.await;
        done
    }

    /// Sends the step's files of that rank in the order that the settings want.
    fn walk(&self, generation: &Generation, step: &Step, rank: usize, out: &mpsc::Sender<Wanted>) {
        let catalog = &generation.catalog;
        let send = |entry: Entry<'_>| {
            let path = entry.path();
            let wanted = step.covers(&path).then(|| self.wanted(&entry, path, rank)).flatten();
            wanted.is_none_or(|wanted| out.blocking_send(wanted).is_ok())
        };
        let order = self.settings.prefetch.order;
        if order == PrefetchOrder::Path {
            catalog.walk(&step.path).all(send);
            return;
        }
        let mut files: Vec<_> = catalog.walk(&step.path).map(|entry| (entry.size(), entry.index())).collect();
        match order {
            PrefetchOrder::LargestFirst => files.sort_by_key(|(size, _)| std::cmp::Reverse(*size)),
            PrefetchOrder::SmallestFirst | PrefetchOrder::Path => files.sort_by_key(|(size, _)| *size),
        }
        files.iter().filter_map(|(_, index)| catalog.entry(*index)).all(send);
    }

    fn wanted(&self, entry: &Entry<'_>, path: String, rank: usize) -> Option<Wanted> {
        let mut remote = self.remote(entry, None).filter(|remote| self.rank(remote) == Some(rank))?;
        remote.landing.tier.clone_from(&self.settings.prefetch.tier);
        Some(Wanted { path, remote: Arc::new(remote) })
    }

    /// An `Err` ends the pass: the cache is full. A file that fails is noted and does not end it.
    async fn bring_in_file(&self, wanted: Wanted, pin: bool) -> Result<(), String> {
        let Wanted { path, remote } = wanted;
        let object = &remote.object;
        if pin && let Err(error) = object.pin() {
            return Err(format!("{path} cannot be pinned: {error}"));
        }
        let (done, room) = (self.prefetch.done_bytes.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed));
        if !pin && done.saturating_add(object.size()) > room {
            return Err(format!("only {room} bytes of the cache are this Dataset's, {path} and what follows stay on demand"));
        }
        let found = object.present_bytes();
        self.prefetch.done_bytes.fetch_add(found, Ordering::Relaxed);
        let filled =
            if object.is_complete() { Ok(Filled::Complete) } else { self.fetcher.fill(&remote, &self.prefetch.done_bytes).await };
        match filled {
            Ok(Filled::Complete) => {
                self.prefetch.add_file();
                if pin {
                    self.publish(object);
                }
                Ok(())
            }
            Ok(Filled::Refused(reason)) if is_full(reason) => {
                Err(format!("the cache takes no more ({}), the rest stays on demand", reason.as_str()))
            }
            Ok(Filled::Refused(reason)) => {
                self.not_fetched.record(
                    self.started.elapsed(),
                    &path,
                    &format!("the cache did not take it ({})", reason.as_str()),
                );
                Ok(())
            }
            Err(error) => {
                tracing::warn!(dataset = self.settings.name, path, %error, "prefetch failed");
                self.not_fetched.record(self.started.elapsed(), &path, &error);
                Ok(())
            }
        }
    }
}

struct Wanted {
    path: String,
    remote: Arc<Remote>,
}

/// Refused because there is no room, which more attempts do not change; the other reasons pass.
fn is_full(reason: Reason) -> bool {
    matches!(reason, Reason::Full | Reason::Reserve | Reason::Quota | Reason::Pin)
}
