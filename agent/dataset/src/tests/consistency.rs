use std::time::Duration;

use forebay_fs::{FsError, Tree};
use forebay_store::StoreErrorKind;
use forebay_store::failing::{Fault, Gate, Op, Rule};

use super::{Run, Store, content, settings};
use crate::{Consistency, Settings};

const FAR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_until_it_is_refreshed_and_open_files_stay_beyond() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("a/old", content(1, 5000));
    store.memory.put("a/same", content(2, 100));
    let run = Run::start(dir.path(), &store, settings(), 64);
    let first = run.listed_after(0).await;
    assert_eq!(run.cat("/a/old").await.unwrap(), content(1, 5000));
    let held = run.open("/a/old").await.unwrap();
    let (before, same) = (run.find("/a/old").unwrap().ino, run.find("/a/same").unwrap().ino);
    store.memory.put("a/old", content(3, 5000));
    store.memory.put("b", content(4, 10));
    assert_eq!(run.cat("/a/old").await.unwrap(), content(1, 5000), "cached, and pinned to the snapshot");
    assert!(matches!(run.find("/b"), Err(FsError::NotFound)));
    run.dataset.refresh(None);
    run.listed_after(first).await;
    assert_eq!(run.cat("/a/old").await.unwrap(), content(3, 5000));
    assert_eq!(run.cat("/b").await.unwrap(), content(4, 10));
    assert_eq!(run.read(held, 0, 5001).await.unwrap(), content(1, 5000), "an open file keeps its version");
    assert_ne!(run.find("/a/old").unwrap().ino, before, "another version is another inode");
    assert_eq!(run.find("/a/same").unwrap().ino, same);
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_answered_by_a_listing_that_began_after_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("x", content(1, 10));
    let gate = Gate::closed();
    store.failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::List));
    let run = Run::start(dir.path(), &store, settings(), 64);
    super::soon(async {
        while store.failing.total(Op::List) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The listing under way may have passed the place where something is new by now.
    let wish = run.dataset.refresh(None);
    assert_eq!(run.dataset.refreshed(), 0);
    gate.open();
    run.listed_after(1).await;
    assert_eq!(run.dataset.refreshed(), wish);
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_object_changed_is_stale_and_never_mixed() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("x", content(1, 3 << 20));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    let held = run.open("/x").await.unwrap();
    run.read(held, 0, 10).await.unwrap();
    store.memory.put("x", content(2, 3 << 20));
    // A range that may still be in the air from the first read is right, all others are stale.
    let (mut stale, size) = (0, 3 << 20);
    for at in (0..size).step_by(1 << 18) {
        match run.read(held, at, 100).await {
            Ok(bytes) => assert_eq!(bytes, content(1, size as usize)[at as usize..][..100]),
            Err(FsError::Stale { message }) => {
                assert!(message.contains("/x") && message.contains("ml/set"), "{message}");
                stale += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let fresh = run.open("/x").await.unwrap();
    assert!(stale > 0 || run.read(fresh, 0, 100).await.unwrap() == content(1, 100)[..]);
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_sees_changes_by_itself() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("x", content(1, 10));
    let consistency = Consistency::MaxAge(Duration::from_millis(50));
    let run = Run::start(dir.path(), &store, Settings { consistency, ..settings() }, 64);
    run.listed_after(0).await;
    store.memory.put("x", content(2, 20));
    super::soon(async {
        while run.cat("/x").await.ok() != Some(content(2, 20)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_never_opens_an_old_version_and_never_guesses() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("x", content(1, 1000));
    let consistency = Consistency::Validate(FAR);
    let run = Run::start(dir.path(), &store, Settings { consistency, ..settings() }, 64);
    run.listed_after(0).await;
    let held = run.open("/x").await.unwrap();
    assert_eq!(run.read(held, 0, 1001).await.unwrap(), content(1, 1000));
    store.memory.put("x", content(2, 2000));
    assert_eq!(run.cat("/x").await.unwrap(), content(2, 2000));
    assert_eq!(run.find("/x").unwrap().size, 2000, "the new size shows once the version is known");
    assert_eq!(run.read(held, 0, 1001).await.unwrap(), content(1, 1000), "an open file keeps its version");
    store.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Unavailable)).on(Op::Head));
    assert!(matches!(run.cat("/x").await, Err(FsError::Io { .. })), "what cannot be checked is not served as checked");
    store.failing.heal();
    store.memory.remove("x");
    assert!(matches!(run.cat("/x").await, Err(FsError::NotFound)));
    run.dataset.release(held);
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_lists_nothing_and_reads_cached_files_without_the_store() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("d/x", content(1, 100_000));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    run.cat("/d/x").await.unwrap();
    // A reader has its bytes before they have landed.
    run.until(|status| status.cache.bytes == 100_000).await;
    let handle = run.open("/d/x").await.unwrap();
    run.end(true).await;
    store.failing.reset_counts();
    store.failing.inject(Rule::always(Fault::Error(StoreErrorKind::Unavailable)));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    assert_eq!(run.cat("/d/x").await.unwrap(), content(1, 100_000));
    assert_eq!(run.read(handle, 10, 10).await.unwrap(), content(1, 100)[10..20], "a former process's handle is understood");
    assert_eq!((store.failing.total(Op::List), store.failing.total(Op::Get)), (0, 0));
    run.end(true).await;
}
