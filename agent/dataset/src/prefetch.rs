//! Brings the wanted files into the cache and pins what is to be pinned.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_cache::Reason;
use forebay_catalog::Entry;
use forebay_crds::PrefetchOrder;
use forebay_fetch::{Filled, Remote};
use futures::{StreamExt, TryStreamExt};

use crate::dataset::Inner;
use crate::generation::Generation;
use crate::plan::{self, Step};

/// How a pass over the plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing is wanted.
    Nothing,
    /// All files are in.
    Complete,
    /// Some files failed.
    Failed,
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
        self.measure(generation, &steps).await;
        self.not_fetched.reset();
        for step in &steps {
            if let Err(reason) = self.run_step(generation, step).await {
                return Pass::DoesNotFit(reason);
            }
        }
        if self.not_fetched.is_empty() { Pass::Complete } else { Pass::Failed }
    }

    /// Counts the plan, on a thread of its own: it reads the whole catalog.
    async fn measure(self: &Arc<Self>, generation: &Arc<Generation>, steps: &[Step]) {
        let (generation, steps) = (generation.clone(), steps.to_vec());
        let count = move || {
            let mut totals = (0u64, 0u64);
            for step in &steps {
                for entry in generation.catalog.walk(&step.path) {
                    if step.covers(&entry.path()) {
                        totals = (totals.0 + 1, totals.1 + entry.size());
                    }
                }
            }
            totals
        };
        if let Ok((files, bytes)) = tokio::task::spawn_blocking(count).await {
            self.prefetch.begin(files, bytes);
        }
    }

    async fn run_step(self: &Arc<Self>, generation: &Arc<Generation>, step: &Step) -> Result<(), String> {
        let ordered = self.ordered(generation, step).await;
        let in_order = ordered.iter().filter_map(|index| generation.catalog.entry(*index));
        let by_path = ordered.is_empty().then(|| generation.catalog.walk(&step.path)).into_iter().flatten();
        let wanted = by_path.chain(in_order).filter_map(|entry| {
            let path = entry.path();
            step.covers(&path).then(|| self.wanted(&entry, path)).flatten()
        });
        futures::stream::iter(wanted)
            .map(|wanted| self.bring_in_file(wanted, step.pin))
            .buffer_unordered(self.settings.prefetch.concurrency.max(1))
            .try_collect()
            .await
    }

    /// Indices of the step's files when they go by size; empty for the tree's own order, which needs no list.
    async fn ordered(&self, generation: &Arc<Generation>, step: &Step) -> Vec<u32> {
        let order = self.settings.prefetch.order;
        if order == PrefetchOrder::Path {
            return Vec::new();
        }
        let (generation, path) = (generation.clone(), step.path.clone());
        let sort = move || {
            let mut files: Vec<_> = generation.catalog.walk(&path).map(|entry| (entry.size(), entry.index())).collect();
            match order {
                PrefetchOrder::LargestFirst => files.sort_by_key(|(size, _)| std::cmp::Reverse(*size)),
                PrefetchOrder::SmallestFirst | PrefetchOrder::Path => files.sort_by_key(|(size, _)| *size),
            }
            files.into_iter().map(|(_, index)| index).collect()
        };
        tokio::task::spawn_blocking(sort).await.unwrap_or_default()
    }

    fn wanted(&self, entry: &Entry<'_>, path: String) -> Option<Wanted> {
        let mut remote = self.remote(entry, None)?;
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
        let found = object.present_bytes();
        self.prefetch.done_bytes.fetch_add(found, Ordering::Relaxed);
        let filled = if object.is_complete() {
            Ok(Filled::Complete)
        } else {
            self.fetcher.fill(&remote, &self.prefetch.done_bytes).await
        };
        match filled {
            Ok(Filled::Complete) => {
                self.prefetch.add_file();
                Ok(())
            }
            Ok(Filled::Refused(reason)) if is_full(reason) => {
                Err(format!("the cache takes no more ({}), the rest stays on demand", reason.as_str()))
            }
            Ok(Filled::Refused(reason)) => {
                self.not_fetched.record(self.started.elapsed(), &path, &format!("the cache did not take it ({})", reason.as_str()));
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
