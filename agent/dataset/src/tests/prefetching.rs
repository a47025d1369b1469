use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use forebay_crds::Phase;
use forebay_crds::dataset::PrefetchOrder;
use forebay_store::failing::{FailingStore, Fault, Gate, Op, Rule};
use forebay_store::memory::MemoryStore;
use forebay_store::{GetStream, ListPage, ListRequest, ObjectMeta, StoreErrorKind, StoreId, StoreResult, UnderStore, Version};

use super::{Run, Store, content, settings};
use crate::{Prefetch, Settings};

fn eager(paths: &[&str]) -> Settings {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Settings { prefetch: Prefetch { paths, concurrency: 4, ..Prefetch::default() }, ..settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wanted_comes_in_and_the_status_counts_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    for index in 0..50 {
        store.memory.put(&format!("in/{index}"), content(index, 10_000));
        store.memory.put(&format!("out/{index}"), content(index, 10_000));
    }
    let run = Run::start(dir.path(), &store, eager(&["/in"]), 64);
    run.until(|status| status.phase == Phase::Ready).await;
    let status = run.dataset.status();
    assert_eq!((status.prefetch.done_files, status.prefetch.total_files), (50, 50));
    assert_eq!((status.prefetch.done_bytes, status.cache.bytes), (500_000, 500_000));
    assert_eq!(store.failing.total(Op::Get), 50);
    assert_eq!(run.cat("/in/7").await.unwrap(), content(7, 10_000));
    assert_eq!(store.failing.total(Op::Get), 50);
    run.end(false).await;
    store.failing.reset_counts();
    let run = Run::start(dir.path(), &store, eager(&["/"]), 64);
    run.until(|status| status.phase == Phase::Ready).await;
    assert_eq!(store.failing.total(Op::Get), 50, "what the former run brought in stays in, whatever way it ended");
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_named_and_comes_in_once_the_store_is_well() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    for index in 0..10 {
        store.memory.put(&format!("{index}"), content(index, 1000));
    }
    store.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Denied)).on(Op::Get).under("3"));
    let run = Run::start(dir.path(), &store, eager(&["/"]), 64);
    run.until(|status| status.prefetch.failed_files == 1 && status.phase == Phase::Degraded).await;
    let failed = run.dataset.status().prefetch.failed;
    assert!(failed[0].path == "/3" && failed[0].error.contains("credentials"), "{failed:?}");
    store.failing.heal();
    run.until(|status| status.phase == Phase::Ready && status.prefetch.failed_files == 0).await;
    run.end(true).await;
}

/// A store that notes which objects it was asked for, in order.
#[derive(Debug)]
struct Noting {
    inner: Arc<MemoryStore>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl UnderStore for Noting {
    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        self.inner.list(request).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        self.asked.lock().unwrap().push(key.to_owned());
        self.inner.get(key, version, range).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_in_the_order_that_is_wished_within_each_path() {
    let orders = [
        (PrefetchOrder::Path, ["z/1", "z/2", "a", "b", "c", "d"]),
        (PrefetchOrder::SmallestFirst, ["z/2", "z/1", "b", "d", "a", "c"]),
        (PrefetchOrder::LargestFirst, ["z/1", "z/2", "c", "a", "d", "b"]),
    ];
    for (order, expected) in orders {
        let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::new("memory://store")));
        for (key, size) in [("a", 3000), ("b", 1000), ("c", 4000), ("d", 2000), ("z/1", 600), ("z/2", 500)] {
            memory.put(key, content(size as u64, size));
        }
        let noting = Arc::new(Noting { inner: memory.clone(), asked: Mutex::default() });
        let store = Store { memory, failing: Arc::new(FailingStore::new(noting.clone())) };
        // One at a time, so that they are asked for one after the other.
        let prefetch = Prefetch { paths: vec!["/z".into(), "/".into()], order, concurrency: 1, ..Prefetch::default() };
        let run = Run::start(dir.path(), &store, Settings { prefetch, ..settings() }, 64);
        run.until(|status| status.phase == Phase::Ready && status.prefetch.done_files == 6).await;
        assert_eq!(*noting.asked.lock().unwrap(), expected, "{order:?}");
        run.end(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_behind_a_pass_comes_in_with_the_next_one() {
    let (dir, store, gate) = (tempfile::tempdir().unwrap(), Store::new(), Gate::closed());
    for index in 0..10 {
        store.memory.put(&format!("{index}"), content(index, 1000));
    }
    store.failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::Get).under("9"));
    let run = Run::start(dir.path(), &store, eager(&["/"]), 64);
    run.until(|status| status.prefetch.done_files == 9 && status.cache.bytes == 9000).await;
    run.until(|status| {
        run.dataset.evict(&["/3"]);
        status.cache.bytes == 8000
    })
    .await;
    gate.open();
    run.until(|status| status.phase == Phase::Ready && status.cache.bytes == 10_000).await;
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_come_first_stay_under_pressure_and_survive_a_restart() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    for index in 0..40 {
        store.memory.put(&format!("many/{index}"), content(index, 1 << 20));
    }
    store.memory.put("pinned/a", content(100, 2 << 20));
    let pinning = Settings { pins: vec!["/pinned".into()], ..settings() };
    let mut run = Run::start(dir.path(), &store, pinning.clone(), 16);
    // A pin counts before its bytes are there.
    run.until(|status| status.cache.pinned_bytes == 2 << 20 && status.phase == Phase::Ready).await;
    for round in 0..2 {
        for index in 0..40 {
            assert_eq!(run.cat(&format!("/many/{index}")).await.unwrap(), content(index, 1 << 20));
        }
        store.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Unavailable)).on(Op::Get).under("pinned"));
        assert_eq!(run.cat("/pinned/a").await.unwrap(), content(100, 2 << 20), "round {round}");
        run.end(round == 0).await;
        run = Run::start(dir.path(), &store, pinning.clone(), 16);
        run.listed_after(0).await;
    }
    run.end(true).await;
    let run = Run::start(dir.path(), &store, settings(), 16);
    run.until(|status| status.cache.pinned_bytes == 0).await;
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_mount_had_pinned_is_given_back_when_another_takes_its_place() {
    let (dir, former, store) = (tempfile::tempdir().unwrap(), Store::new(), Store::named("memory://other"));
    for index in 0..3 {
        former.memory.put(&format!("{index}"), content(index, 1 << 20));
        store.memory.put(&format!("{index}"), content(10 + index, 1 << 20));
    }
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let run = Run::start(dir.path(), &former, pinning.clone(), 16);
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 3 << 20).await;
    run.end(true).await;
    let run = Run::start(dir.path(), &store, pinning, 16);
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 3 << 20).await;
    assert_eq!(run.cat("/2").await.unwrap(), content(12, 1 << 20));
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_fails_says_which_mount_and_why_and_is_tried_again() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("x", content(1, 10));
    store.failing.inject(Rule::always(Fault::Error(StoreErrorKind::NoSuchContainer)).on(Op::List));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.until(|status| status.phase == Phase::Failed).await;
    let ready = run.dataset.status().conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.status == "False" && ready.message.contains("mount /") && ready.message.contains("bucket"), "{ready:?}");
    store.failing.heal();
    run.until(|status| status.phase == Phase::Ready).await;
    run.end(true).await;
}
