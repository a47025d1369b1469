use std::time::Duration;

use forebay_crds::Phase;
use forebay_store::failing::Op;

use super::{Run, Store, content, settings};
use crate::{Consistency, Prefetch, Settings};

/// `/in/0..4` and `/out/0..4`, of 10 000 bytes each.
fn store() -> Store {
    let store = Store::new();
    for index in 0..4 {
        store.memory.put(&format!("in/{index}"), content(index, 10_000));
        store.memory.put(&format!("out/{index}"), content(index + 10, 10_000));
    }
    store
}

async fn read_all(run: &Run) {
    for index in 0..4 {
        assert_eq!(run.cat(&format!("/in/{index}")).await.unwrap(), content(index, 10_000));
        assert_eq!(run.cat(&format!("/out/{index}")).await.unwrap(), content(index + 10, 10_000));
    }
    // A reader has its bytes before they have landed.
    run.until(|status| status.cache.bytes == 80_000).await;
}

/// Evicts until exactly so many bytes are left: bytes are counted before they have landed, and what lands after an eviction stays.
async fn evict(run: &Run, paths: &[&str], left: u64) {
    super::soon(async {
        while run.dataset.status().cache.bytes > left {
            run.dataset.evict(paths);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(run.dataset.status().cache.bytes, left, "{paths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_evicted_is_fetched_again_when_it_is_read_and_what_is_pinned_stays() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store());
    let run = Run::start(dir.path(), &store, Settings { pins: vec!["/in/1".into()], ..settings() }, 64);
    run.until(|status| status.cache.pinned_bytes == 10_000 && status.phase == Phase::Ready).await;
    for (paths, freed) in [(&["/in"][..], 30_000), (&["/in/2", "/in/2", "/nowhere"], 10_000), (&["/"], 70_000), (&[], 70_000)] {
        read_all(&run).await;
        let held = run.open("/in/0").await.unwrap();
        evict(&run, paths, 80_000 - freed).await;
        assert_eq!(run.read(held, 0, 10_001).await.unwrap(), content(0, 10_000), "an open file is read on");
        forebay_fs::Tree::release(&run.dataset, held);
    }
    store.failing.reset_counts();
    assert_eq!(run.cat("/in/1").await.unwrap(), content(1, 10_000));
    assert_eq!(store.failing.total(Op::Get), 0, "the pinned file was fetched again");
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_only_an_open_found_are_evicted_too() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store());
    let consistency = Consistency::Validate(Duration::from_secs(3600));
    let run = Run::start(dir.path(), &store, Settings { consistency, ..settings() }, 64);
    run.listed_after(0).await;
    run.cat("/in/0").await.unwrap();
    store.memory.put("in/0", content(7, 5_000));
    assert_eq!(run.cat("/in/0").await.unwrap(), content(7, 5_000));
    run.until(|status| status.cache.bytes == 15_000).await;
    evict(&run, &["/in"], 0).await;
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prefetched_comes_again() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store());
    let prefetch = Prefetch { paths: vec!["/in".into()], concurrency: 2, ..Prefetch::default() };
    let run = Run::start(dir.path(), &store, Settings { prefetch, ..settings() }, 64);
    run.until(|status| status.phase == Phase::Ready && status.cache.bytes == 40_000).await;
    assert_eq!(run.dataset.evict(&[]), 40_000);
    run.until(|status| status.cache.bytes == 40_000).await;
    run.end(true).await;
}
