use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use forebay_cache::{Cache, Stats, TierHealth, Usage};
use forebay_dataset::Dataset;
use forebay_fetch::{Fetcher, StatsSnapshot};

use super::{DatasetView, View};

/// A Dataset and where it is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    /// The Dataset.
    pub(crate) dataset: Dataset,
    /// Its mount point.
    pub(crate) at: PathBuf,
    /// Whether it is mounted now; the assembly sets it.
    pub(crate) mounted: Arc<AtomicBool>,
    /// Since when this process serves it.
    pub(crate) since: SystemTime,
}

/// The running agent.
pub(crate) struct AgentView {
    /// What it serves.
    pub(crate) datasets: Vec<Mounted>,
    /// The node's cache.
    pub(crate) cache: Cache,
    /// The way into it.
    pub(crate) fetcher: Fetcher,
}

impl View for AgentView {
    fn datasets(&self) -> Vec<DatasetView> {
        let mut views: Vec<_> = self.datasets.iter().map(Mounted::view).collect();
        views.sort_by_key(DatasetView::full_name);
        views
    }

    fn usage(&self) -> Usage {
        self.cache.usage()
    }

    fn cache_stats(&self) -> Stats {
        self.cache.stats()
    }

    fn health(&self) -> Vec<TierHealth> {
        self.cache.health()
    }

    fn fetch_stats(&self) -> StatsSnapshot {
        self.fetcher.stats()
    }

    fn refresh(&self, name: &str) -> bool {
        let found = self.datasets.iter().find(|mounted| mounted.dataset.name() == name);
        if let Some(mounted) = found {
            mounted.dataset.refresh();
        }
        found.is_some()
    }
}

impl Mounted {
    fn view(&self) -> DatasetView {
        let full = self.dataset.name();
        let (namespace, name) = full.split_once('/').unwrap_or(("", full));
        DatasetView {
            namespace: namespace.into(),
            name: name.into(),
            at: self.at.clone(),
            mounted: self.mounted.load(Ordering::Relaxed),
            since: self.since,
            listing: None,
            status: self.dataset.status(),
        }
    }
}
