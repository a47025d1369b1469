use std::time::Duration;

use forebay_fs::{FsError, Tree};
use forebay_store::StoreErrorKind;
use forebay_store::failing::{Fault, Gate, Op, Rule};

use super::{Run, Store, content, settings};
use crate::life::CALM;
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
    const BLOCK: usize = 1 << 20;
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    let old = content(1, 8 * BLOCK);
    store.memory.put("x", old.clone());
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    let held = run.open("/x").await.unwrap();
    // One request brings the first block and the two after it, which are read ahead, and nothing else.
    run.read(held, 0, 10).await.unwrap();
    assert_eq!((store.failing.total(Op::Get), store.failing.bytes_requested()), (1, 3 << 20));
    store.memory.put("x", content(2, 8 * BLOCK));
    let fresh = run.open("/x").await.unwrap();
    for handle in [held, fresh] {
        for at in (0..8 * BLOCK).step_by(BLOCK / 4) {
            match run.read(handle, at as u64, 100).await {
                Ok(bytes) => {
                    assert!(at < 3 * BLOCK, "bytes at {at} come from nowhere");
                    assert_eq!(bytes, old[at..][..100]);
                }
                Err(FsError::Stale { message }) => {
                    assert!(at >= 3 * BLOCK, "what came before the change is right: {message}");
                    assert!(message.contains("/x") && message.contains("ml/set"), "{message}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        run.dataset.release(handle);
    }
    run.end(true).await;
}

/// The newest generation's number, and when its listing began, in nanoseconds.
fn newest(run: &Run) -> (u64, i64) {
    let generation = run.dataset.inner.generations.current().unwrap();
    (u64::from(generation.number), generation.catalog.info().listed_at_ns)
}

/// Whether listings began so long after each other, from one generation to another.
fn are_apart(earlier: (u64, i64), later: (u64, i64), least: Duration) -> bool {
    let (listings, passed) = (u32::try_from(later.0 - earlier.0).unwrap(), u64::try_from(later.1 - earlier.1).unwrap());
    // The machine's clock may be set a little meanwhile.
    listings > 0 && Duration::from_nanos(passed) >= least * listings * 9 / 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_object_that_a_reader_meets_has_a_tree_with_an_age_listed_sooner_and_no_snapshot() {
    let (dirs, store) = ([(); 2].map(|()| tempfile::tempdir().unwrap()), Store::new());
    store.memory.put("x", content(1, 1000));
    let snapshot = Run::start(dirs[0].path(), &store, settings(), 64);
    snapshot.listed_after(0).await;
    let consistency = Consistency::MaxAge(FAR);
    let aging = Run::start(dirs[1].path(), &store, Settings { consistency, ..settings() }, 64);
    aging.listed_after(0).await;
    let before = newest(&aging);
    store.memory.put("x", content(2, 1000));
    store.memory.put("y", content(3, 10));
    for run in [&snapshot, &aging] {
        assert!(matches!(run.cat("/x").await, Err(FsError::Stale { .. })));
    }
    // Many complain at once; they are answered by one listing, and not before the last one is a while ago.
    for _ in 0..20 {
        let _ = aging.cat("/x").await;
    }
    assert_eq!(aging.listed_after(1).await, 2);
    assert!(are_apart(before, newest(&aging), CALM), "listed again at once");
    assert_eq!(aging.cat("/x").await.unwrap(), content(2, 1000));
    assert_eq!(aging.cat("/y").await.unwrap(), content(3, 10));
    // It heard of the change no later, and its listing is older.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*snapshot.dataset.generation().borrow(), 1);
    assert!(matches!(snapshot.cat("/x").await, Err(FsError::Stale { .. })));
    for run in [snapshot, aging] {
        run.end(true).await;
    }
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
async fn validate_sees_names_that_come_and_go_at_the_age_of_the_listing_and_not_before() {
    const AGE: Duration = Duration::from_secs(2);
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("stays", content(1, 10));
    store.memory.put("goes", content(2, 10));
    let with = |age| Settings { consistency: Consistency::Validate(age), ..settings() };
    let run = Run::start(dir.path(), &store, with(FAR), 64);
    run.listed_after(0).await;
    store.memory.put("comes", content(3, 10));
    store.memory.remove("goes");
    // An open looks at its own object, and at no name.
    assert_eq!(run.cat("/stays").await.unwrap(), content(1, 10));
    assert!(matches!(run.find("/comes"), Err(FsError::NotFound)));
    assert!(run.find("/goes").is_ok());
    let first = newest(&run);
    assert_eq!(first.0, 1);
    run.end(true).await;

    let run = Run::start(dir.path(), &store, with(AGE), 64);
    run.listed_after(1).await;
    let second = newest(&run);
    assert!(are_apart(first, second, AGE), "listed before its age");
    assert_eq!(run.cat("/comes").await.unwrap(), content(3, 10));
    assert!(matches!(run.find("/goes"), Err(FsError::NotFound)));
    // Again and again, with nobody who reads anything.
    run.listed_after(second.0).await;
    assert!(are_apart(second, newest(&run), AGE), "listed before its age");
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
