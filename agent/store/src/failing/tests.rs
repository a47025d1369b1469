#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::*;
use crate::memory::MemoryStore;

fn store() -> (FailingStore, Version) {
    let memory = MemoryStore::new("memory://t");
    memory.set_chunk_size(4);
    let meta = memory.put("k", "0123456789");
    (FailingStore::new(Arc::new(memory)), meta.version)
}

async fn read(store: &FailingStore, version: &Version) -> (Vec<u8>, Option<StoreErrorKind>) {
    let mut got = Vec::new();
    let mut body = match store.get("k", version, 0..10).await {
        Ok(got) => got.body,
        Err(error) => return (got, Some(error.kind)),
    };
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => got.extend_from_slice(&chunk),
            Err(error) => return (got, Some(error.kind)),
        }
    }
    (got, None)
}

#[tokio::test]
async fn faults_act_where_and_as_often_as_told() {
    let (store, version) = store();
    store.inject(Rule::once(Fault::Error(StoreErrorKind::Throttled)).on(Op::Get));
    store.inject(Rule::once(Fault::Truncate(5)).on(Op::Get));
    store.inject(Rule::once(Fault::Break(0, StoreErrorKind::Unavailable)).on(Op::Get));
    store.inject(Rule::once(Fault::WrongByte(8)).on(Op::Get));
    store.inject(Rule::always(Fault::Error(StoreErrorKind::Denied)).on(Op::Get).under("other"));
    assert_eq!(read(&store, &version).await, (vec![], Some(StoreErrorKind::Throttled)));
    let truncated = StoreErrorKind::Truncated { got: 5, expected: 10 };
    assert_eq!(read(&store, &version).await, (b"01234".to_vec(), Some(truncated)));
    assert_eq!(read(&store, &version).await, (vec![], Some(StoreErrorKind::Unavailable)));
    let (bytes, error) = read(&store, &version).await;
    assert_eq!((bytes[8], error), (b'8' ^ 0xff, None));
    assert_eq!(read(&store, &version).await, (b"0123456789".to_vec(), None));
    assert_eq!((store.calls(Op::Get, "k"), store.total(Op::Head)), (5, 0));
    assert_eq!((store.bytes_requested(), store.bytes_delivered()), (50, 25));
    assert_eq!((store.in_flight(), store.peak_in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stall_ends_only_by_dropping_it_and_a_gate_by_opening_it() {
    let (store, version) = store();
    store.inject(Rule::once(Fault::Stall(6)));
    let mut body = store.get("k", &version, 0..10).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), Bytes::from("0123"));
    assert_eq!(body.next().await.unwrap().unwrap(), Bytes::from("45"));
    assert!(tokio::time::timeout(Duration::from_secs(3600), body.next()).await.is_err());
    store.reset_counts();
    assert_eq!((store.in_flight(), store.peak_in_flight(), store.total(Op::Get)), (1, 1, 0));
    drop(body);
    assert_eq!(store.in_flight(), 0);

    let gate = Gate::closed();
    store.inject(Rule::once(Fault::WaitBody(2, gate.clone())));
    let mut body = store.get("k", &version, 0..10).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), Bytes::from("01"));
    assert!(tokio::time::timeout(Duration::from_secs(3600), body.next()).await.is_err());
    gate.open();
    let rest: Vec<Bytes> = body.try_collect().await.unwrap();
    assert_eq!(rest.concat(), b"23456789");
}

#[tokio::test]
async fn a_seed_gives_the_same_faults_again() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (store, version) = store();
        let faults = vec![Fault::Error(StoreErrorKind::Timeout), Fault::Truncate(3)];
        store.set_seeded(Some(Seeded { seed: 7, per_mille: 300, faults }));
        let mut run = Vec::new();
        for _ in 0..200 {
            run.push(read(&store, &version).await.1);
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    let failed = runs[0].iter().filter(|error| error.is_some()).count();
    assert!((20..120).contains(&failed), "{failed} of 200");
}
