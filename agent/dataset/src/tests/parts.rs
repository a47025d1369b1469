//! Runs over a cache that a test made of parts of its own: more tiers, a disk that fails, a clock that stands still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use forebay_cache::{BLOCK, Cache, CacheConfig, Medium, TierConfig};
use forebay_fetch::{FetchConfig, Fetcher};
use forebay_store::UnderStore;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::{Dataset, DatasetParts, Mount, Settings};

/// Tiers of these names below `dir`, fastest first, with room for `blocks` each.
pub(super) fn config(dir: &Path, tiers: &[&str], blocks: u64) -> CacheConfig {
    let tiers = tiers.iter().map(|&name| TierConfig {
        name: name.into(),
        medium: Medium::Disk,
        dir: dir.join(name),
        capacity: blocks * BLOCK,
        reserve: 0,
    });
    CacheConfig::new(tiers.collect(), dir.join("index"))
}

impl Run {
    /// Starts over that cache, and over what an earlier run left in `dir`. The stores are those of readers and of background work.
    pub(super) fn over(cache: Cache, dir: &Path, stores: [Arc<dyn UnderStore>; 2], settings: Settings) -> Self {
        let recovered = cache.clone();
        let recovery = std::thread::spawn(move || drop(recovered.recover(&AtomicBool::new(false))));
        let config = FetchConfig { max_ahead: 2, ..FetchConfig::default() };
        let [reader, background] = stores;
        let mount = Mount { path: "/".into(), reader, background, direct: None, include: Vec::new(), exclude: Vec::new() };
        let dataset = Dataset::open(DatasetParts {
            settings,
            mounts: vec![mount],
            cache: cache.clone(),
            fetcher: Fetcher::new(config, Runtime::current()),
            state_dir: dir.join("dataset"),
            share: None,
            catalogs: None,
        })
        .unwrap();
        let stop = CancellationToken::new();
        let life = tokio::spawn({
            let (dataset, stop) = (dataset.clone(), stop.clone());
            async move { dataset.run(stop).await }
        });
        Self { dataset, cache, stop, life, recovery }
    }
}
