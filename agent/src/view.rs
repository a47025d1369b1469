//! What the agent's servers and its progress display see of it. They know nothing else of the agent, so tests give
//! them a twin.

use forebay_cache::{Stats, TierHealth, Usage};
use forebay_fetch::StatsSnapshot;
use forebay_fuse::OpenCounts;

/// A Dataset as the agent serves it.
pub(crate) type DatasetView = forebay_api::DatasetReport;

/// How the files of a Dataset's mounts were opened since the start, all mounts together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opens {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) counts: OpenCounts,
}

/// What makes an agent ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Alone: that every Dataset can be read.
    Datasets,
    /// In a cluster: that it serves whom it is told to. How a Dataset does is the Dataset's status. What is missing, if
    /// something is.
    Agent(Option<String>),
}

/// The agent at a moment. Its methods may wait for a lock of the cache: async code calls them by [`ask`].
pub(crate) trait View: Send + Sync + 'static {
    /// The Datasets, in order of namespace and name.
    fn datasets(&self) -> Vec<DatasetView>;
    /// What the cache holds.
    fn usage(&self) -> Usage;
    /// What the cache did since the start.
    fn cache_stats(&self) -> Stats;
    /// How the cache's tiers do.
    fn health(&self) -> Vec<TierHealth>;
    /// What was fetched since the start.
    fn fetch_stats(&self) -> StatsSnapshot;
    /// How files were opened.
    fn opens(&self) -> Vec<Opens>;
    /// What the agent's readiness is made of.
    fn readiness(&self) -> Readiness {
        Readiness::Datasets
    }
    /// Asks for a new listing of the Dataset `namespace/name`; false when there is none of that name.
    fn refresh(&self, name: &str) -> bool;
}

/// Asks the view on a thread where waiting harms nobody. `None` when the process is ending.
pub(crate) async fn ask<T: Send + 'static>(
    view: &std::sync::Arc<dyn View>,
    question: impl FnOnce(&dyn View) -> T + Send + 'static,
) -> Option<T> {
    let view = view.clone();
    tokio::task::spawn_blocking(move || question(&*view)).await.ok()
}

#[cfg(test)]
pub(crate) mod twin;
