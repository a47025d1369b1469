//! A view that says what a test wants.
#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_cache::{Stats, TierHealth, Usage};
use forebay_crds::DatasetStatus;
use forebay_fetch::StatsSnapshot;

use super::{DatasetView, Opens, View};

/// A view of what its fields say.
#[derive(Debug, Default)]
pub(crate) struct Twin {
    pub(crate) datasets: Mutex<Vec<DatasetView>>,
    pub(crate) usage: Usage,
    pub(crate) stats: Stats,
    pub(crate) health: Vec<TierHealth>,
    pub(crate) fetch: StatsSnapshot,
    pub(crate) opens: Vec<Opens>,
    pub(crate) refreshed: Mutex<Vec<String>>,
}

/// 2026-01-01T00:00:00Z, from which the Datasets of tests are served.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A mounted Dataset of that status.
pub(crate) fn dataset(namespace: &str, name: &str, status: DatasetStatus) -> DatasetView {
    DatasetView {
        namespace: namespace.into(),
        name: name.into(),
        at: PathBuf::from("/mnt").join(name),
        mounted: true,
        since: start(),
        listing: None,
        status,
        not_native: None,
    }
}

impl Twin {
    pub(crate) fn of(datasets: Vec<DatasetView>) -> Self {
        Self { datasets: Mutex::new(datasets), ..Self::default() }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<DatasetView>)) {
        change(&mut self.datasets.lock().unwrap());
    }
}

impl View for Twin {
    fn datasets(&self) -> Vec<DatasetView> {
        self.datasets.lock().unwrap().clone()
    }
    fn usage(&self) -> Usage {
        self.usage.clone()
    }
    fn cache_stats(&self) -> Stats {
        self.stats.clone()
    }
    fn health(&self) -> Vec<TierHealth> {
        self.health.clone()
    }
    fn fetch_stats(&self) -> StatsSnapshot {
        self.fetch
    }
    fn opens(&self) -> Vec<Opens> {
        self.opens.clone()
    }
    fn refresh(&self, name: &str) -> bool {
        let known = self.datasets.lock().unwrap().iter().any(|dataset| dataset.full_name().to_string() == name);
        if known {
            self.refreshed.lock().unwrap().push(name.to_owned());
        }
        known
    }
}
