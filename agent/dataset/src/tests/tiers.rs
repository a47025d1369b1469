//! What a Dataset's settings say of the node's tiers, and a tier whose disk fails.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_cache::index::SledIndex;
use forebay_cache::io::{DiskIo, FailingIo, Faults, Op as DiskOp};
use forebay_cache::{Cache, CacheConfig, ManualClock, Parts};
use forebay_crds::Phase;

use super::{Run, Store, content, parts, settings};
use crate::{Prefetch, Settings};

fn store() -> Store {
    let store = Store::new();
    for index in 0..4 {
        store.memory.put(&format!("in/{index}"), content(index, 10_000));
    }
    store
}

fn eager(tier: Option<&str>) -> Settings {
    let prefetch = Prefetch { paths: vec!["/in".into()], tier: tier.map(str::to_owned), concurrency: 2, ..Prefetch::default() };
    Settings { prefetch, ..settings() }
}

/// A clock that stands still, and the configuration that has it.
fn still(mut config: CacheConfig) -> (Arc<ManualClock>, CacheConfig) {
    let clock = Arc::new(ManualClock::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap()));
    config.clock = clock.clone();
    (clock, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prefetched_lands_in_the_tier_that_is_wished_and_else_in_the_first_with_room() {
    for (tier, expected) in [(Some("ssd"), [0, 40_000]), (Some("ram"), [40_000, 0]), (None, [40_000, 0])] {
        let (dir, store) = (tempfile::tempdir().unwrap(), store());
        let cache = Cache::open(parts::config(dir.path(), &["ram", "ssd"], 16)).unwrap();
        let run = Run::over(cache, dir.path(), [store.failing.clone(), store.failing.clone()], eager(tier));
        run.until(|status| status.phase == Phase::Ready && status.prefetch.done_files == 4).await;
        let tiers: Vec<(String, u64)> =
            run.dataset.status().cache.tiers.into_iter().map(|tier| (tier.name, tier.bytes)).collect();
        assert_eq!(tiers, [("ram".to_owned(), expected[0]), ("ssd".to_owned(), expected[1])], "{tier:?}");
        run.end(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_read_for_the_time_to_live_goes() {
    for (ttl, left) in [(Some(Duration::from_secs(600)), [10_000, 0]), (None, [20_000, 20_000])] {
        let (dir, store) = (tempfile::tempdir().unwrap(), store());
        let (clock, config) = still(parts::config(dir.path(), &["ssd"], 16));
        let run = Run::over(
            Cache::open(config).unwrap(),
            dir.path(),
            [store.failing.clone(), store.failing.clone()],
            Settings { ttl, ..settings() },
        );
        run.listed_after(0).await;
        for path in ["/in/0", "/in/1"] {
            run.cat(path).await.unwrap();
        }
        // A reader has its bytes before they have landed.
        run.until(|status| status.cache.bytes == 20_000).await;
        clock.advance(Duration::from_secs(400));
        assert_eq!(run.cat("/in/1").await.unwrap(), content(1, 10_000));
        for left in left {
            clock.advance(Duration::from_secs(400));
            run.cache.step();
            // The cache's own thread may be at it in the same moment.
            run.until(|status| status.cache.bytes <= left).await;
            assert_eq!(run.dataset.status().cache.bytes, left, "{ttl:?}");
        }
        run.end(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_did_not_take_comes_in_once_its_disk_is_well() {
    let (dir, store, faults) = (tempfile::tempdir().unwrap(), store(), Faults::default());
    let (clock, config) = still(parts::config(dir.path(), &["ssd"], 16));
    let disk = FailingIo::new(Arc::new(DiskIo::new(&config.tiers[0].dir)), faults.clone());
    let index = Arc::new(SledIndex::new(&config.index_dir));
    let cache = Cache::open_with(&config, Parts { ios: vec![Arc::new(disk)], index, threads: true }).unwrap();
    faults.fail(DiskOp::Write, 5);
    let run = Run::over(cache, dir.path(), [store.failing.clone(), store.failing.clone()], eager(None));
    run.until(|status| status.phase == Phase::Degraded && status.prefetch.failed_files == 4).await;
    // Nobody who reads notices.
    assert_eq!(run.cat("/in/2").await.unwrap(), content(2, 10_000));
    assert_eq!(run.dataset.status().cache.bytes, 0);
    faults.mend();
    clock.advance(Duration::from_secs(100));
    run.until(|status| status.phase == Phase::Ready && status.cache.bytes == 40_000).await;
    run.end(true).await;
}
