#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;

use super::*;
use crate::failing::{FailingStore, Fault, Gate, Op, Rule, Seeded};
use crate::memory::MemoryStore;

const SIZE: u64 = 1000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| (index * 7 % 251) as u8).collect()
}

fn limits() -> Limits {
    Limits { retries: 4, backoff: Duration::from_millis(100), ..Limits::default() }
}

struct Bench {
    memory: Arc<MemoryStore>,
    failing: Arc<FailingStore>,
    store: Resilient,
    version: Version,
}

fn bench(limits: Limits) -> Bench {
    let memory = Arc::new(MemoryStore::new("memory://t"));
    memory.set_chunk_size(100);
    let version = memory.put("k", content()).version;
    let failing = Arc::new(FailingStore::new(memory.clone()));
    let store = Resilient::new(failing.clone(), limits);
    Bench { memory, failing, store, version }
}

impl Bench {
    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, StoreErrorKind> {
        read(&self.store, &self.version, range).await
    }
}

async fn read(store: &Resilient, version: &Version, range: Range<u64>) -> Result<Vec<u8>, StoreErrorKind> {
    let got = store.get("k", version, range).await.map_err(|error| error.kind)?;
    let chunks: Vec<Bytes> = got.body.try_collect().await.map_err(|error| error.kind)?;
    Ok(chunks.concat())
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_repeated_and_others_are_not() {
    let bench = bench(limits());
    bench.failing.inject(Rule::times(4, Fault::Error(StoreErrorKind::Unavailable)));
    assert_eq!(bench.store.head("k").await.unwrap().size, SIZE);
    assert_eq!(bench.failing.calls(Op::Head, "k"), 5);
    bench.failing.inject(Rule::times(5, Fault::Error(StoreErrorKind::Throttled)));
    assert_eq!(bench.store.head("k").await.unwrap_err().kind, StoreErrorKind::Throttled);
    bench.failing.reset_counts();
    bench.failing.inject(Rule::once(Fault::Error(StoreErrorKind::Denied)));
    assert_eq!(bench.store.head("k").await.unwrap_err().kind, StoreErrorKind::Denied);
    assert_eq!(bench.failing.calls(Op::Head, "k"), 1);
    let stats = bench.store.stats();
    assert_eq!((stats.requests, stats.retries, stats.failures, stats.throttled), (11, 8, 10, 5));
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_goes_on_where_it_broke() {
    let bench = bench(limits());
    bench.failing.inject(Rule::once(Fault::Truncate(250)));
    bench.failing.inject(Rule::once(Fault::Error(StoreErrorKind::Unavailable)));
    bench.failing.inject(Rule::once(Fault::Stall(0)));
    bench.failing.inject(Rule::once(Fault::Break(300, StoreErrorKind::Unavailable)));
    assert_eq!(bench.read(100..900).await, Ok(content()[100..900].to_vec()));
    assert_eq!(bench.failing.ranges("k"), vec![100..900, 350..900, 350..900, 350..900, 650..900]);
    assert_eq!(bench.failing.bytes_delivered(), 800);
    assert_eq!(bench.store.stats().timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_hangs_beyond_the_limits() {
    let limits = Limits { request_timeout: Duration::from_secs(5), progress_timeout: Duration::from_secs(3), ..limits() };
    let most = (limits.request_timeout + Duration::from_secs(2)) * (limits.retries + 1);
    for fault in [Fault::Hang, Fault::Stall(0), Fault::Stall(120)] {
        let bench = bench(limits.clone());
        bench.failing.inject(Rule::always(fault.clone()));
        let begun = Instant::now();
        assert_eq!(bench.read(0..SIZE).await, Err(StoreErrorKind::Timeout), "{fault:?}");
        assert!(begun.elapsed() < most, "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(bench.failing.in_flight(), 0);
        assert_eq!(bench.store.stats().readers, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_slow_store() {
    let bench = bench(limits());
    let mut body = bench.store.get("k", &bench.version, 0..SIZE).await.unwrap().body;
    let mut bytes = 0;
    while let Some(chunk) = body.next().await {
        bytes += chunk.unwrap().len();
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    assert_eq!((bytes, bench.failing.total(Op::Get)), (SIZE as usize, 1));
}

#[tokio::test(start_paused = true)]
async fn versions_do_not_mix_when_a_body_is_resumed() {
    let bench = bench(limits());
    bench.failing.inject(Rule::once(Fault::Truncate(200)));
    let mut body = bench.store.get("k", &bench.version, 0..SIZE).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap().len(), 100);
    bench.memory.put("k", vec![0; SIZE as usize]);
    assert_eq!(body.next().await.unwrap().unwrap()[..], content()[100..200]);
    let error = body.next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Changed { .. }), "{error}");
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn wrong_bytes_of_a_whole_object_are_found() {
    let bench = bench(limits());
    bench.failing.inject(Rule::times(3, Fault::WrongByte(950)));
    let mut body = bench.store.get("k", &bench.version, 0..SIZE).await.unwrap().body;
    let mut bytes = 0;
    let error = loop {
        match body.next().await.unwrap() {
            Ok(chunk) => bytes += chunk.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, bytes), (StoreErrorKind::Corrupt, 900));
    // A part cannot be checked, and it can be turned off.
    let mut wrong = content();
    wrong[951] ^= 0xff;
    assert_eq!(bench.read(1..SIZE).await, Ok(wrong[1..].to_vec()));
    let off = Resilient::new(bench.failing.clone(), Limits { verify_checksums: false, ..limits() });
    assert!(read(&off, &bench.version, 0..SIZE).await.is_ok());
    assert_eq!(bench.store.stats().corrupt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_does_not_multiply_load() {
    let bench = bench(Limits { retries: 20, concurrency: 1000, retry_time: Duration::from_secs(20), ..limits() });
    bench.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Throttled)));
    let calls = join_all((0..500).map(|_| bench.store.head("k"))).await;
    assert!(calls.iter().all(|call| call.as_ref().is_err_and(|error| error.kind == StoreErrorKind::Throttled)));
    let requests = bench.failing.total(Op::Head);
    assert!((600..=500 + 32 + 8 * 20).contains(&requests), "{requests}");
    assert!(bench.store.stats().over_budget > 0);
    // And it recovers at once when the store does.
    bench.failing.heal();
    assert!(bench.store.head("k").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_bounded_and_readers_have_their_share() {
    let bench = bench(Limits { concurrency: 8, reserved_for_readers: 3, ..limits() });
    let gate = Gate::closed();
    bench.failing.inject(Rule::always(Fault::WaitBody(100, gate.clone())).on(Op::Get));
    let prefetch = bench.store.with_priority(Priority::Prefetch);
    let version = bench.version.clone();
    let mut held = Vec::new();
    for _ in 0..20 {
        let (prefetch, version) = (prefetch.clone(), version.clone());
        held.push(tokio::spawn(async move { read(&prefetch, &version, 0..SIZE).await }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.failing.in_flight(), bench.store.stats().prefetches), (5, 5));
    assert!(bench.store.head("k").await.is_ok(), "a reader waits behind prefetch");
    // A body keeps its slot: three readers' bodies, and the fourth waits.
    for _ in 0..4 {
        let (store, version) = (bench.store.clone(), version.clone());
        held.push(tokio::spawn(async move { read(&store, &version, 0..SIZE).await }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.failing.in_flight(), bench.store.stats().readers), (8, 3));
    // Cancelling gives slots back, to those in use and those in the queue.
    for task in held.drain(..10) {
        task.abort();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.store.stats().readers, 4);
    assert_eq!(bench.failing.in_flight(), 8);
    gate.open();
    for task in join_all(held).await {
        assert_eq!(task.unwrap(), Ok(content()));
    }
    assert_eq!((bench.failing.peak_in_flight(), bench.failing.in_flight()), (8, 0));
    let stats = bench.store.stats();
    assert_eq!((stats.readers, stats.prefetches), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_without_a_slot() {
    let bench = bench(Limits {
        concurrency: 1,
        backoff: Duration::from_secs(1000),
        max_backoff: Duration::from_secs(1000),
        retry_time: Duration::from_secs(2000),
        ..limits()
    });
    bench.memory.put("failing", "");
    bench.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Unavailable)).under("failing"));
    let store = bench.store.clone();
    let task = tokio::spawn(async move { store.head("failing").await });
    tokio::task::yield_now().await;
    let begun = Instant::now();
    assert!(bench.store.head("k").await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(1));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_shared_and_readers_come_first() {
    let bench = bench(Limits { bandwidth: Some(1 << 10), ..limits() });
    let begun = Instant::now();
    let all = join_all((0..5).map(|_| bench.read(0..SIZE))).await;
    assert!(all.iter().all(Result::is_ok));
    let seconds = begun.elapsed().as_secs_f64();
    let want = 5.0 * SIZE as f64 / 1024.0;
    assert!((want - 0.2..want + 0.1).contains(&seconds), "{seconds} s for {want} s worth of bytes");

    let prefetch = bench.store.with_priority(Priority::Prefetch);
    let version = bench.version.clone();
    let background: Vec<_> = (0..10)
        .map(|_| {
            let (prefetch, version) = (prefetch.clone(), version.clone());
            tokio::spawn(async move { read(&prefetch, &version, 0..SIZE).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    assert!(bench.read(0..SIZE).await.is_ok());
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    for task in background {
        assert!(task.await.unwrap().is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever fails, and however often: a body that ends well is the range, and one that does not is a prefix of it.
    #[test]
    fn faults_never_change_bytes(
        seed in any::<u64>(),
        per_mille in 0u16..1000,
        start in 0u64..SIZE,
        length in 1u64..SIZE,
        chunk in 1usize..300,
        places in prop::collection::vec(0u64..SIZE, 3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bench = bench(limits());
            bench.memory.set_chunk_size(chunk);
            bench.failing.set_seeded(Some(Seeded { seed, per_mille, faults: vec![
                Fault::Error(StoreErrorKind::Unavailable),
                Fault::Hang,
                Fault::Latency(Duration::from_secs(1)),
                Fault::Truncate(places[0]),
                Fault::Break(places[1], StoreErrorKind::Timeout),
                Fault::Stall(places[2]),
            ] }));
            let range = start..(start + length).min(SIZE);
            let want = &content()[range.start as usize..range.end as usize];
            let mut got = Vec::new();
            let mut failed = None;
            match bench.store.get("k", &bench.version, range.clone()).await {
                Err(error) => failed = Some(error),
                Ok(stream) => {
                    let mut body = stream.body;
                    while let Some(item) = body.next().await {
                        match item {
                            Ok(chunk) => got.extend_from_slice(&chunk),
                            Err(error) => failed = Some(error),
                        }
                    }
                }
            }
            prop_assert!(want.starts_with(&got));
            match failed {
                None => prop_assert_eq!(&got[..], want),
                Some(error) => prop_assert!(error.kind.is_transient(), "{}", error),
            }
            prop_assert_eq!(bench.failing.bytes_delivered(), got.len() as u64);
            prop_assert_eq!(bench.failing.in_flight(), 0);
            let stats = bench.store.stats();
            prop_assert_eq!((stats.readers, stats.prefetches), (0, 0));
            prop_assert!(stats.requests <= 5);
            Ok(())
        })?;
    }
}
