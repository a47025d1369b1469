use std::sync::Arc;
use std::time::Duration;

use forebay_store::policy::{Limits, Resilient};
use forebay_store::{StoreErrorKind, UnderStore};
use futures::StreamExt;
use futures::future::join_all;

use super::{Fixture, bytes, is_changed, open, read};

pub(super) async fn ranges(fixture: &dyn Fixture) {
    let content = bytes(1, 100_000);
    fixture.put("ranges", "k", &content).await;
    let store = open(fixture, "ranges").await;
    let meta = store.head("k").await.unwrap();
    for range in [0..100_000, 0..1, 99_999..100_000, 1..99_999, 50_000..50_001, 65_536..98_304] {
        let want = content[range.start as usize..range.end as usize].to_vec();
        assert_eq!(read(&*store, "k", &meta.version, range.clone()).await, Ok(want), "{range:?}");
    }
    for range in [99_999..100_001, 100_000..100_001, 200_000..300_000, 5..5] {
        let error = read(&*store, "k", &meta.version, range.clone()).await.unwrap_err();
        assert_eq!(error, StoreErrorKind::RangeNotSatisfiable, "{range:?}");
    }
}

pub(super) async fn empty_object(fixture: &dyn Fixture) {
    fixture.put("zero", "nothing", b"").await;
    let store = open(fixture, "zero").await;
    let meta = store.head("nothing").await.unwrap();
    assert_eq!(meta.size, 0);
    let error = read(&*store, "nothing", &meta.version, 0..1).await.unwrap_err();
    assert_eq!(error, StoreErrorKind::RangeNotSatisfiable);
}

pub(super) async fn changed_and_removed(fixture: &dyn Fixture) {
    fixture.put("changes", "d/k", b"old content").await;
    fixture.put("changes", "d/other", b"other").await;
    let store = open(fixture, "changes").await;
    let old = store.head("d/k").await.unwrap();
    assert_eq!(read(&*store, "d/k", &old.version, 0..11).await, Ok(b"old content".to_vec()));
    // The same length, so that only the version can tell.
    fixture.put("changes", "d/k", b"new content").await;
    for range in [0..11, 0..1, 10..11] {
        let error = read(&*store, "d/k", &old.version, range).await.unwrap_err();
        assert!(is_changed(&error), "{error}");
    }
    let new = store.head("d/k").await.unwrap();
    assert_ne!(old.version, new.version);
    assert_eq!(read(&*store, "d/k", &new.version, 0..11).await, Ok(b"new content".to_vec()));
    // Shorter: a range beyond it is of the old version all the same.
    fixture.put("changes", "d/k", b"x").await;
    let error = read(&*store, "d/k", &new.version, 5..11).await.unwrap_err();
    assert!(is_changed(&error) || error == StoreErrorKind::RangeNotSatisfiable, "{error}");

    fixture.remove("changes", "d/k").await;
    assert_eq!(store.head("d/k").await.unwrap_err().kind, StoreErrorKind::NotFound);
    let error = read(&*store, "d/k", &new.version, 0..1).await.unwrap_err();
    assert_eq!(error, StoreErrorKind::NotFound);
}

pub(super) async fn large_and_concurrent(fixture: &dyn Fixture) {
    let content = Arc::new(bytes(2, 3 << 20));
    fixture.put("large", "big", &content).await;
    let limits = Limits { concurrency: 4, request_timeout: Duration::from_secs(60), ..Limits::default() };
    let store = Resilient::new(open(fixture, "large").await, limits);
    let meta = store.head("big").await.unwrap();
    // Whole: the checksum is compared too, where there is one.
    assert!(read(&store, "big", &meta.version, 0..meta.size).await.is_ok_and(|got| got == **content));
    let pieces = (0..24u64).map(|index| {
        let (store, content, version) = (store.clone(), content.clone(), meta.version.clone());
        tokio::spawn(async move {
            let range = index * (128 << 10)..(index + 1) * (128 << 10);
            let got = read(&store, "big", &version, range.clone()).await.unwrap();
            assert!(got == content[range.start as usize..range.end as usize], "{range:?}");
        })
    });
    for piece in join_all(pieces).await {
        piece.unwrap();
    }
    assert_eq!(store.stats().failures, 0);
}

/// Bodies and calls that nobody wants any more give everything back.
pub(super) async fn dropped_bodies(fixture: &dyn Fixture) {
    let store = Resilient::new(open(fixture, "large").await, Limits { concurrency: 2, ..Limits::default() });
    let meta = store.head("big").await.unwrap();
    for _ in 0..10 {
        let mut body = store.get("big", &meta.version, 0..meta.size).await.unwrap().body;
        assert!(body.next().await.unwrap().is_ok());
        drop(body);
        // Cancelled before it is answered.
        let call = store.get("big", &meta.version, 0..1);
        let _ = tokio::time::timeout(Duration::ZERO, call).await;
    }
    assert_eq!(store.stats().readers, 0);
    assert!(store.head("big").await.is_ok());
}
