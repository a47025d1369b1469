use std::sync::Arc;
use std::time::Duration;

use forebay_cache::BLOCK;
use forebay_cache::io::{Faults, Op as DiskOp};
use forebay_store::failing::{Fault, Op, Rule};
use forebay_store::policy::{Limits, Priority, Resilient};
use forebay_store::{StoreErrorKind, UnderStore};
use futures::TryStreamExt as _;

use super::{Bench, DEADLINE, soon};
use crate::{Class, FetchConfig, FetchErrorKind, Filled, Remote};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_store_reaches_the_reader_named_and_the_next_read_works() {
    let table = [
        (Fault::Error(StoreErrorKind::Unavailable), FetchErrorKind::Failed),
        (Fault::Error(StoreErrorKind::Denied), FetchErrorKind::Denied),
        (Fault::Error(StoreErrorKind::Timeout), FetchErrorKind::TimedOut),
        (Fault::Error(StoreErrorKind::NotFound), FetchErrorKind::Stale),
        (Fault::Error(StoreErrorKind::RangeNotSatisfiable), FetchErrorKind::Stale),
        (Fault::Truncate(1000), FetchErrorKind::Failed),
        (Fault::Break(BLOCK + 1000, StoreErrorKind::Unavailable), FetchErrorKind::Failed),
    ];
    for (fault, kind) in table {
        let bench = Bench::new();
        let (bytes, remote) = bench.put("dir/object", 2 * BLOCK);
        bench.store.inject(Rule::once(fault.clone()).on(Op::Get));
        let file = bench.fetcher.open(remote);
        let error = soon(file.read(2 * BLOCK - 100, 100)).await;
        let error = match error {
            Err(error) => error,
            // Random access to the last block fetches it alone: a fault behind its end does not strike.
            Ok(_) if matches!(fault, Fault::Break(..)) => {
                bench.store.heal();
                continue;
            }
            Ok(_) => panic!("{fault:?} was not noticed"),
        };
        assert_eq!(error.kind(), kind, "{fault:?}");
        let text = error.to_string();
        assert!(text.contains("dataset ml/bench, mount /") && text.contains("memory://bench/dir/object"), "{text}");
        assert!(soon(file.read(0, 2 << 20)).await.unwrap() == bytes, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_in_mid_range_keeps_the_blocks_before_it() {
    let bench = Bench::new();
    let (_, remote) = bench.put("long", 12 * BLOCK);
    bench.store.inject(Rule::once(Fault::Break(3 * BLOCK + 5, StoreErrorKind::Unavailable)).on(Op::Get));
    let file = bench.fetcher.open(remote);
    let error = soon(file.read(BLOCK, 5 << 20)).await.map(|bytes| bytes.len()).unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Failed);
    assert_eq!(file.remote().object.missing(1..6), std::iter::once(4..6).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_object_is_stale_and_no_byte_of_it_is_served() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("changing", 4 * BLOCK);
    let file = bench.fetcher.open(remote);
    assert!(soon(file.read(3 * BLOCK, 10)).await.unwrap() == bytes[3 * BLOCK as usize..][..10]);
    bench.memory.put("changing", vec![0xff; 4 * BLOCK as usize]);
    assert_eq!(soon(file.read(0, 10)).await.unwrap_err().kind(), FetchErrorKind::Stale);
    assert!(soon(file.read(3 * BLOCK, 10)).await.unwrap() == bytes[3 * BLOCK as usize..][..10], "what is cached stays");
    let now = bench.store.head("changing").await.unwrap();
    let file = bench.fetcher.open(bench.remote(&now));
    assert!(soon(file.read(3 * BLOCK, 10)).await.unwrap() == [0xff; 10][..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_in_the_air_after_failures() {
    let bench = Bench::new();
    let (_, remote) = bench.put("failing", 20 * BLOCK);
    bench.store.inject(Rule::always(Fault::Truncate(10)).on(Op::Get));
    let file = bench.fetcher.open(remote);
    for at in 0..20 {
        assert!(soon(file.read(at * BLOCK, 10)).await.is_err() || bench.store.total(Op::Get) > 0);
    }
    soon(async {
        while bench.fetcher.in_flight() > 0 || bench.store.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The bench's object behind the policy that compares checksums, which tries nothing again by itself.
fn verified(bench: &Bench, remote: &mut Remote) {
    let resilient = Resilient::new(bench.store.clone(), Limits { retries: 0, ..Limits::default() });
    remote.background = Arc::new(resilient.with_priority(Priority::Prefetch));
    remote.reader = Arc::new(resilient);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_asked_for_again_before_anybody_sees_them() {
    let bench = Bench::new();
    let (bytes, mut remote) = bench.put("damaged", 3 * BLOCK);
    verified(&bench, &mut remote);
    bench.store.inject(Rule::once(Fault::WrongByte(1000)).on(Op::Get));
    let file = bench.fetcher.open(remote);
    assert!(soon(file.read(0, 2000)).await.unwrap() == bytes[..2000]);
    assert!(soon(file.read(0, 3 << 20)).await.unwrap() == bytes);
    assert_eq!(bench.store.total(Op::Get), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_stay_wrong_reach_neither_reader_nor_cache() {
    let bench = Bench::new();
    let (bytes, mut remote) = bench.put("damaged", 3 * BLOCK);
    verified(&bench, &mut remote);
    bench.store.inject(Rule::always(Fault::WrongByte(1000)).on(Op::Get));
    let file = bench.fetcher.open(remote.clone());
    let error = soon(file.read(0, 10)).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Failed, "{error}");
    let (filled, _) = bench.fill(remote.clone()).await;
    assert!(filled.is_err(), "{filled:?}");
    assert_eq!(remote.object.present_bytes(), 0, "blocks that nobody vouches for are cached");
    bench.store.heal();
    assert!(soon(file.read(0, 3 << 20)).await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_objects_that_fill_the_memory_do_not_wait_for_each_other() {
    let least = FetchConfig { reader_memory: 0, background_memory: 0, ..FetchConfig::default() };
    let bench = Bench::with(least);
    let files: Vec<_> = (0..12)
        .map(|index| {
            let (bytes, mut remote) = bench.put(&format!("object-{index}"), (index % 8 + 1) * BLOCK);
            verified(&bench, &mut remote);
            (bytes, bench.fetcher.open(remote))
        })
        .collect();
    let readers = files.iter().map(|(bytes, file)| async move {
        assert!(soon(file.read(0, bytes.len())).await.unwrap() == bytes[..]);
    });
    futures::future::join_all(readers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_cached_and_cannot_be_read_now_comes_from_the_store() {
    const ENFILE: i32 = 23;
    let faults = Faults::default();
    let bench = Bench::on(FetchConfig::default(), faults.clone());
    let (bytes, remote) = bench.put("cached", 2 * BLOCK);
    bench.fill(remote.clone()).await.0.unwrap();
    let file = bench.fetcher.open(remote);
    assert!(soon(file.read(0, 2 << 20)).await.unwrap() == bytes);
    let before = bench.fetcher.stats().reader_gets;
    faults.fail(DiskOp::Read, ENFILE);
    assert!(soon(file.read(BLOCK, 1 << 20)).await.unwrap() == bytes[BLOCK as usize..]);
    assert!(bench.fetcher.stats().reader_gets > before, "the disk gave it");
    faults.mend();
    let asked = bench.fetcher.stats().reader_gets;
    assert!(soon(file.read(0, 2 << 20)).await.unwrap() == bytes);
    assert_eq!(bench.fetcher.stats().reader_gets, asked, "what is cached is still of use");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_comes_from_the_store_where_it_is_cached_and_cannot_be_read_now() {
    const ENFILE: i32 = 23;
    let faults = Faults::default();
    let bench = Bench::on(FetchConfig::default(), faults.clone());
    let (bytes, remote) = bench.put("cached", 2 * BLOCK);
    bench.fill(remote.clone()).await.0.unwrap();
    faults.fail(DiskOp::Read, ENFILE);
    let passed_on = |class| soon(bench.fetcher.stream(remote.clone(), class, BLOCK..2 * BLOCK).try_collect::<Vec<_>>());
    assert!(passed_on(Some(Class::Reader)).await.unwrap().concat() == bytes[BLOCK as usize..]);
    assert!(bench.fetcher.stats().reader_gets > 0, "the disk gave it");
    assert!(passed_on(None).await.is_err(), "who wants no more than what is cached waits for no store");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_refused_is_offered_again_without_being_fetched_again() {
    let faults = Faults::default();
    let bench = Bench::on(FetchConfig::default(), faults.clone());
    let (bytes, remote) = bench.put("refused", BLOCK);
    faults.fail(DiskOp::Write, 28);
    let (filled, landed) = bench.fill(remote.clone()).await;
    assert!(matches!(filled, Ok(Filled::Refused(_))) && landed == 0, "{filled:?}");
    faults.mend();
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        // A tier that failed is left alone for a while.
        let (filled, landed) = bench.fill(remote.clone()).await;
        if matches!(filled, Ok(Filled::Complete)) {
            assert_eq!(landed, BLOCK);
            break;
        }
        assert!(std::time::Instant::now() < until, "it is never offered again: {filled:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(soon(bench.fetcher.open(remote).read(0, 1 << 20)).await.unwrap() == bytes);
    let stats = bench.fetcher.stats();
    assert_eq!((stats.background_gets, stats.reader_gets), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lingers_for_readers_gets_into_the_cache_by_them() {
    let faults = Faults::default();
    let bench = Bench::on(FetchConfig::default(), faults.clone());
    let (bytes, remote) = bench.put("refused", BLOCK);
    faults.fail(DiskOp::Write, 28);
    let file = bench.fetcher.open(remote);
    assert!(soon(file.read(0, 1 << 20)).await.unwrap() == bytes);
    faults.mend();
    let until = std::time::Instant::now() + DEADLINE;
    while !file.remote().object.is_complete() {
        assert!(soon(file.read(0, 1 << 20)).await.unwrap() == bytes);
        assert!(std::time::Instant::now() < until, "it stays out of the cache as long as it is read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.fetcher.stats().reader_gets, 1);
}
