use std::sync::Arc;

use forebay_cache::BLOCK;
use forebay_store::failing::{Fault, Gate, Op, Rule};

use super::{Bench, soon};
use crate::{FetchConfig, Filled};

#[tokio::test(flavor = "multi_thread")]
async fn every_range_reads_as_the_source_cold_and_warm() {
    let bench = Bench::new();
    let size = 5 * BLOCK + 12_345;
    let (bytes, remote) = bench.put("big", size);
    let file = bench.fetcher.open(remote);
    let mut at = 7u64;
    for round in 0..300u64 {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round) % (size + 1000);
        let len = usize::try_from(at % 1_500_000).unwrap();
        let got = soon(file.read(at, len)).await.unwrap();
        let start = usize::try_from(at.min(size)).unwrap();
        let end = (start + len).min(bytes.len());
        assert!(got == bytes[start..end], "round {round}: {len} bytes at {at}");
    }
    assert!(file.remote().object.is_complete());
    let mut buf = vec![0; 3 << 20];
    assert_eq!(file.try_read(BLOCK - 10, &mut buf), Some(buf.len()));
    assert!(buf[..] == bytes[BLOCK as usize - 10..][..buf.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_the_end_of_a_file_need_no_store() {
    let bench = Bench::new();
    let (_, empty) = bench.put("empty", 0);
    let (_, small) = bench.put("small", 10);
    let file = bench.fetcher.open(empty);
    assert_eq!(file.try_read(0, &mut [0; 8]), Some(0));
    assert!(soon(file.read(0, 100)).await.unwrap().is_empty());
    assert!(soon(bench.fetcher.open(small).read(10, 100)).await.unwrap().is_empty());
    assert_eq!(bench.store.total(Op::Get), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_fetched_once_however_many_wait() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("shared", 3000);
    let gate = Gate::closed();
    bench.store.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::Get));
    let file = Arc::new(bench.fetcher.open(remote));
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let file = file.clone();
            tokio::spawn(async move { file.read(100, 1000).await })
        })
        .collect();
    soon(async {
        while bench.fetcher.stats().joined < 49 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    for reader in readers {
        assert!(soon(reader).await.unwrap().unwrap() == bytes[100..1100]);
    }
    assert_eq!(bench.store.total(Op::Get), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_reach_the_reader_before_their_block_is_complete() {
    let bench = Bench::new();
    // Longer than one request, so that no checksum of the whole holds its bytes back.
    let (bytes, remote) = bench.put("slow", 20 * BLOCK);
    let gate = Gate::closed();
    bench.store.inject(Rule::always(Fault::WaitBody(200_000, gate.clone())).on(Op::Get));
    let file = bench.fetcher.open(remote);
    assert!(soon(file.read(0, 100_000)).await.unwrap() == bytes[..100_000]);
    assert!(!file.remote().object.has(0), "the body is still held back");
    gate.open();
    assert!(soon(file.read(500_000, 10)).await.unwrap() == bytes[500_000..500_010]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_whole_object_wait_for_its_checksum() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("held", 2 * BLOCK);
    let gate = Gate::closed();
    bench.store.inject(Rule::always(Fault::WaitBody(BLOCK + 200_000, gate.clone())).on(Op::Get));
    let file = Arc::new(bench.fetcher.open(remote));
    let mut reader = tokio::spawn({
        let file = file.clone();
        async move { file.read(0, 1000).await }
    });
    soon(async {
        while bench.fetcher.stats().reader_bytes < BLOCK {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut reader).await;
    assert!(early.is_err(), "bytes that are not verified were shown");
    assert!(!file.remote().object.has(0), "bytes that are not verified were cached");
    gate.open();
    assert!(soon(reader).await.unwrap().unwrap() == bytes[..1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_has_landed_gives_its_memory_back_while_its_request_goes_on() {
    let bench = Bench::new();
    let (_, remote) = bench.put("long", 20 * BLOCK);
    let gate = Gate::closed();
    bench.store.inject(Rule::always(Fault::WaitBody(3 * BLOCK + 10, gate.clone())).on(Op::Get));
    let remote = Arc::new(remote);
    let flights = bench.fetcher.launch(&remote, crate::Class::Reader, 0..8);
    let first = Arc::downgrade(&flights[0]);
    drop(flights);
    soon(async {
        while !remote.object.has(2) {
            tokio::task::yield_now().await;
        }
        while first.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_reader_has_parallel_ranges_ahead_of_it() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("long", 100 * BLOCK);
    let file = bench.fetcher.open(remote);
    let mut at = 0usize;
    while at < bytes.len() {
        let got = soon(file.read(at as u64, 128 << 10)).await.unwrap();
        assert!(got == bytes[at..at + got.len()]);
        at += got.len();
    }
    assert_eq!(bench.store.bytes_requested(), 100 * BLOCK, "each byte leaves the store once");
    assert!(bench.store.total(Op::Get) <= 20, "{} GETs for 100 MiB", bench.store.total(Op::Get));
    assert!(bench.store.peak_in_flight() >= 4, "only {} ranges at a time", bench.store.peak_in_flight());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_reads_fetch_only_their_own_blocks() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("random", 64 * BLOCK);
    let file = bench.fetcher.open(remote);
    for block in [50, 10, 30, 60, 20] {
        let at = (block * BLOCK + 5) as usize;
        assert!(soon(file.read(at as u64, 4096)).await.unwrap() == bytes[at..at + 4096]);
    }
    assert_eq!(bench.store.bytes_requested(), 5 * BLOCK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_takes_nothing_costs_speed_and_no_read() {
    let mut bench = Bench::with(FetchConfig { max_ahead: 2, ..FetchConfig::default() });
    bench.policy.quota = Some(0);
    let (bytes, remote) = bench.put("uncached", 20 * BLOCK);
    let file = bench.fetcher.open(remote);
    let mut at = 0usize;
    while at < bytes.len() {
        let got = soon(file.read(at as u64, 128 << 10)).await.unwrap();
        assert!(got == bytes[at..at + got.len()]);
        at += got.len();
    }
    soon(async {
        while bench.fetcher.stats().refused < 20 || bench.fetcher.in_flight() > FetchConfig::default().linger {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bench.store.bytes_requested(), 20 * BLOCK, "a block taken in pieces is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_completes_the_object_and_counts_what_landed() {
    let bench = Bench::new();
    let (bytes, remote) = bench.put("filled", 30 * BLOCK + 1);
    let file = bench.fetcher.open(remote.clone());
    soon(file.read(9 * BLOCK, 10)).await.unwrap();
    // A reader has its bytes before they have landed.
    soon(async {
        while bench.fetcher.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = remote.object.present_bytes();
    let (filled, progress) = bench.fill(remote.clone()).await;
    assert!(matches!(filled, Ok(Filled::Complete)));
    assert_eq!(progress + before, 30 * BLOCK + 1);
    assert!(remote.object.is_complete());
    let mut all = vec![0; bytes.len()];
    assert_eq!(file.try_read(0, &mut all), Some(bytes.len()));
    assert!(all == bytes);
    assert_eq!(bench.store.bytes_requested(), 30 * BLOCK + 1, "what a reader had brought in is not fetched again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_passes_a_prefetch_that_waits() {
    let bench = Bench::new();
    let (_, prefetched) = bench.put("background", 64 * BLOCK);
    let (bytes, wanted) = bench.put("wanted", BLOCK);
    let gate = Gate::closed();
    bench.store.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::Get).under("background"));
    let fetcher = bench.fetcher.clone();
    let prefetch = tokio::spawn(async move {
        let progress = std::sync::atomic::AtomicU64::new(0);
        fetcher.fill(&Arc::new(prefetched), &progress).await
    });
    let file = bench.fetcher.open(wanted);
    assert!(soon(file.read(0, 1 << 20)).await.unwrap() == bytes);
    gate.open();
    assert!(matches!(soon(prefetch).await.unwrap(), Ok(Filled::Complete)));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_come_faster_than_they_are_written_all_land() {
    let bench = Bench::new();
    let remotes: Vec<_> = (0..150u64).map(|n| bench.put(&format!("small-{n}"), 1 + n * 100).1).collect();
    let filled = futures::future::join_all(remotes.iter().map(|remote| bench.fill(remote.clone()))).await;
    for ((filled, bytes), remote) in filled.into_iter().zip(&remotes) {
        assert!(matches!(filled, Ok(Filled::Complete)), "{filled:?}");
        assert_eq!(bytes, remote.object.size());
        assert!(remote.object.is_complete());
    }
    // And once more, when those who wrote them have ended.
    let (filled, _) = bench.fill(bench.put("late", 5 * BLOCK).1).await;
    assert!(matches!(filled, Ok(Filled::Complete)), "{filled:?}");
    assert_eq!(bench.fetcher.in_flight(), 0);
}
