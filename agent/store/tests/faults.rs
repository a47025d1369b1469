//! Real servers behind a proxy that breaks things: what the error says, that it ends in time, and that all is well again
//! when the fault is over.

use std::time::{Duration, Instant};

use forebay_e2e::{Fault, FaultProxy, RequestKind, Rule};
use forebay_store::policy::{Limits, Resilient};
use forebay_store::s3::{S3Config, S3Store};
use forebay_store::{StoreConfig, StoreErrorKind, UnderStore, Version, open};

use crate::behaviour::{bytes, is_changed, list, read};
use crate::stores::{Fixture, Kind, S3};

const SIZE: usize = 1 << 20;

struct Bench {
    s3: S3,
    proxy: FaultProxy,
    store: Resilient,
    version: Version,
    content: Vec<u8>,
}

/// Limits short enough to see their end, long enough for a busy machine.
fn limits() -> Limits {
    Limits {
        request_timeout: Duration::from_secs(3),
        progress_timeout: Duration::from_secs(3),
        retries: 2,
        backoff: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// No call may take longer than this, whatever fails: each try its limit, and the pauses between.
const LONGEST: Duration = Duration::from_secs(3 * 3 + 20);

async fn bench(kind: Kind) -> Bench {
    let s3 = S3::start(kind);
    let content = bytes(9, SIZE);
    s3.put("bkt", "k", &content).await;
    let proxy = FaultProxy::start(s3.address()).unwrap();
    let config = S3Config { endpoint: Some(proxy.endpoint()), ..s3.config("bkt") };
    let store = open(StoreConfig::S3(config), limits()).unwrap().store().clone();
    let version = store.head("k").await.unwrap().version;
    Bench { s3, proxy, store, version, content }
}

impl Bench {
    async fn read(&self) -> Result<(), StoreErrorKind> {
        let begun = Instant::now();
        let got = read(&self.store, "k", &self.version, 0..SIZE as u64).await;
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
        got.map(|got| assert!(got == self.content, "wrong bytes"))
    }

    async fn is_well(&self) {
        assert_eq!(self.read().await, Ok(()));
        assert_eq!(list(&self.store, "", true).await.unwrap().keys(), ["k"]);
        assert_eq!(self.store.stats().readers, 0);
    }
}

/// Runs a case against both servers at once.
async fn both(case: impl AsyncFn(Kind)) {
    futures::future::join(case(Kind::Versitygw), case(Kind::Minio)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_faults_are_ridden_out() {
    both(async |kind| {
        let bench = bench(kind).await;
        for fault in [
            Fault::Answer(500, "InternalError"),
            Fault::Answer(503, "SlowDown"),
            Fault::Answer(429, "TooManyRequests"),
            Fault::Truncate(0),
            Fault::Truncate(300_000),
            Fault::Stall(500_000),
            Fault::Hang,
            Fault::Delay(Duration::from_millis(500)),
        ] {
            bench.proxy.reset_counts();
            bench.proxy.add(Rule::gets(fault.clone()).times(2));
            assert_eq!(bench.read().await, Ok(()), "{kind:?} {fault:?}");
            // The held requests of the proxy end with its rules.
            bench.proxy.clear();
            // Bytes that had arrived were not asked for again.
            let ranges: Vec<_> = bench.proxy.seen().into_iter().filter(|seen| seen.kind == RequestKind::Get).collect();
            if let Fault::Truncate(at) | Fault::Stall(at) = fault
                && at > 0
            {
                let last = ranges.iter().filter_map(|seen| seen.range.clone()).max_by_key(|range| start(range)).unwrap();
                // What was in flight in the client when the connection broke may be lost with it, but not more than that.
                assert!(start(&last) > at, "{kind:?} {fault:?}: {last} after {at} and as many more");
            }
            bench.is_well().await;
        }
        bench.proxy.add(Rule { kind: Some(RequestKind::List), ..Rule::all(Fault::Answer(503, "SlowDown")) }.times(2));
        bench.proxy.add(Rule { kind: Some(RequestKind::Head), ..Rule::all(Fault::Answer(500, "")) }.times(2));
        assert_eq!(list(&bench.store, "", true).await.unwrap().keys(), ["k"]);
        assert!(bench.store.head("k").await.is_ok());
    })
    .await;
}

/// The first byte of a `Range` header.
fn start(range: &str) -> u64 {
    let (_, range) = range.split_once('=').unwrap();
    range.split_once('-').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_end_with_their_error_and_then_all_is_well() {
    both(async |kind| {
        let bench = bench(kind).await;
        for (fault, want) in [
            (Fault::Answer(500, "InternalError"), StoreErrorKind::Unavailable),
            (Fault::Answer(503, "SlowDown"), StoreErrorKind::Throttled),
            (Fault::Answer(403, "AccessDenied"), StoreErrorKind::Denied),
            (Fault::Answer(404, "NoSuchKey"), StoreErrorKind::NotFound),
            (Fault::Answer(404, "NoSuchBucket"), StoreErrorKind::NoSuchContainer),
            (Fault::Answer(416, "InvalidRange"), StoreErrorKind::RangeNotSatisfiable),
            (Fault::Truncate(0), StoreErrorKind::Truncated { got: 0, expected: SIZE as u64 }),
            (Fault::Stall(0), StoreErrorKind::Timeout),
            (Fault::Hang, StoreErrorKind::Timeout),
            (Fault::Flip(12345), StoreErrorKind::Corrupt),
        ] {
            let rule = bench.proxy.add(Rule::gets(fault.clone()));
            let error = bench.read().await.expect_err("a read through a fault");
            assert_eq!(error, want, "{kind:?} {fault:?}");
            bench.proxy.remove(rule);
            bench.is_well().await;
        }
        let error = {
            bench.proxy.add(Rule::gets(Fault::Answer(412, "PreconditionFailed")));
            bench.read().await.unwrap_err()
        };
        assert!(is_changed(&error), "{error}");
        bench.proxy.clear();
        bench.is_well().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away() {
    both(async |kind| {
        let mut bench = bench(kind).await;
        bench.proxy.down();
        let refused = bench.store.head("k").await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Unavailable, "{refused}");
        for word in ["head", "127.0.0.1", "/bkt/k", "onnect"] {
            assert!(refused.to_string().contains(word), "{word:?} is not in {refused}");
        }
        assert_eq!(bench.read().await, Err(StoreErrorKind::Unavailable));
        assert_eq!(list(&bench.store, "", true).await.err().unwrap().kind, StoreErrorKind::Unavailable);
        bench.proxy.up().unwrap();
        bench.is_well().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_within_a_body() {
    both(async |kind| {
        let bench = bench(kind).await;
        // The first answer breaks; by the time of the second the object is another.
        bench.proxy.add(Rule::gets(Fault::Truncate(200_000)).times(1));
        let got = bench.store.get("k", &bench.version, 0..SIZE as u64).await.unwrap();
        bench.s3.put("bkt", "k", &bytes(10, SIZE)).await;
        let mut body = got.body;
        let mut read = Vec::new();
        let error = loop {
            match futures::StreamExt::next(&mut body).await.expect("an end without an error") {
                Ok(chunk) => read.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert!(is_changed(&error.kind), "{kind:?}: {error}");
        assert!(bench.content.starts_with(&read), "bytes of two versions");
    })
    .await;
}

/// A hundred readers and a store that refuses everything: the load stays near one request each.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_not_multiplied() {
    let bench = bench(Kind::Versitygw).await;
    let config = S3Config { endpoint: Some(bench.proxy.endpoint()), ..bench.s3.config("bkt") };
    let many = Limits { retries: 20, retry_time: Duration::from_secs(5), ..limits() };
    let store = Resilient::new(std::sync::Arc::new(S3Store::new(config).unwrap()), many);
    bench.proxy.add(Rule::all(Fault::Answer(503, "SlowDown")));
    bench.proxy.reset_counts();
    let calls = futures::future::join_all((0..100).map(|_| store.head("k"))).await;
    assert!(calls.iter().all(Result::is_err));
    let requests = bench.proxy.count(RequestKind::Head);
    // Without the budget it would be 100 x 21.
    assert!(requests < 100 + 32 + 8 * 15, "{requests} requests");
    bench.proxy.clear();
    assert!(store.head("k").await.is_ok());
}
