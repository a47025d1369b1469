use std::sync::Arc;

use forebay_crds::names::Eviction;
use forebay_dataset::Dataset;
use tracing::{error, info};

use super::Hosted;

impl Hosted {
    /// The wish to be carried out now, which is under way from here on.
    fn begin_eviction(&self) -> Option<(Dataset, Eviction)> {
        let mut state = self.state();
        let (dataset, wish) = (state.dataset.clone()?, state.desired.evict.clone()?);
        if state.handled.evicted.as_ref() == Some(&wish.id) || state.evicting.as_ref() == Some(&wish.id) {
            return None;
        }
        state.evicting = Some(wish.id.clone());
        Some((dataset, wish))
    }

    /// Drops from the cache what somebody asked to be dropped and that was not done yet, on a thread of its own.
    pub(super) fn evict(self: &Arc<Self>) {
        let Some((dataset, wish)) = self.begin_eviction() else { return };
        let hosted = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let paths: Vec<&str> = wish.paths.iter().map(|path| path.as_str()).collect();
            let bytes = dataset.evict(&paths);
            info!(dataset = %hosted.name, bytes, ?paths, "evicted, as asked");
            let mut state = hosted.state();
            // A newer wish may be under way by now, and is the one to be told of.
            if state.evicting.as_ref() == Some(&wish.id) {
                state.evicting = None;
                state.handled.evicted = Some(wish.id);
            }
        });
        let name = self.name.clone();
        tokio::spawn(async move {
            if let Err(error) = work.await {
                error!(dataset = %name, %error, "eviction died");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use std::time::Duration;

    use forebay_api::DatasetName;
    use forebay_api::session::DatasetState;
    use forebay_cache::{BLOCK, Cache, CacheConfig, Medium, TierConfig};
    use forebay_crds::dataset::PrefetchPolicy;
    use forebay_crds::{DatasetSpec, Phase};
    use forebay_dataset::DatasetParts;
    use forebay_fetch::{FetchConfig, Fetcher};
    use forebay_store::memory::MemoryStore;

    use super::super::super::kept::Handled;
    use super::*;

    fn desired(evict: Option<&str>) -> DatasetState {
        DatasetState {
            dataset: DatasetName::new("ml", "set"),
            uid: "u".into(),
            generation: 1,
            spec: DatasetSpec::of(Vec::new()),
            secrets: Vec::new(),
            refresh: None,
            evict: evict.map(|id| Eviction { id: id.into(), paths: Vec::new() }),
        }
    }

    async fn until(what: impl Fn() -> bool) {
        let wait = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_wish_is_carried_out_once_and_then_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let (tier, medium) = (dir.path().join("tier"), Medium::Disk);
        let tier = TierConfig { name: "ssd".into(), medium, dir: tier, capacity: 64 * BLOCK, reserve: 0 };
        let cache = Cache::open(CacheConfig::new(vec![tier], dir.path().join("index"))).unwrap();
        let store = Arc::new(MemoryStore::new("memory://store"));
        store.put("a", vec![7; 100_000]);
        let mount = forebay_dataset::Mount {
            path: "/".into(),
            reader: store.clone(),
            background: store,
            for_peers: None,
            include: Vec::new(),
            exclude: Vec::new(),
        };
        let mut object = forebay_crds::Dataset::new("set", DatasetSpec::of(Vec::new()));
        object.metadata.namespace = Some("ml".into());
        object.spec.prefetch.policy = PrefetchPolicy::Eager;
        let parts = DatasetParts {
            settings: crate::wishes::settings(&object),
            mounts: vec![mount],
            cache: cache.clone(),
            fetcher: Fetcher::new(FetchConfig::default(), tokio::runtime::Handle::current()),
            state_dir: dir.path().join("state"),
            share: None,
            catalogs: None,
        };
        let dataset = Dataset::open(parts).unwrap();
        let cached = || dataset.status().cache.bytes;
        let former = Handled { refreshed: None, evicted: Some("old".into()) };
        let hosted = Arc::new(Hosted::new(desired(Some("old")), former));
        hosted.work(desired(Some("old")), Ok(dataset.clone()));
        until(|| dataset.status().phase == Phase::Ready && cached() == 100_000).await;
        // What is dropped from here on is not fetched again.
        hosted.rest().await;
        assert!(hosted.begin_eviction().is_none());
        hosted.set_wishes(desired(None));
        hosted.set_wishes(desired(Some("old")));
        assert_eq!((hosted.progress().evicted.as_deref(), cached()), (Some("old"), 100_000), "a former agent did it");
        hosted.set_wishes(desired(Some("new")));
        until(|| hosted.progress().evicted.as_deref() == Some("new")).await;
        assert_eq!(cached(), 0);
    }
}
