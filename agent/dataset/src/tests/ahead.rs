use forebay_store::failing::{Fault, Gate, Op, Rule};

use super::{Run, Store, content, settings, soon};
use crate::{Prefetch, Settings};

const FILES: u64 = 200;

fn store() -> Store {
    let store = Store::new();
    for index in 0..FILES {
        store.memory.put(&format!("dir/{index:04}"), content(index, 10_000));
    }
    store
}

fn path(index: u64) -> String {
    format!("/dir/{index:04}")
}

async fn gets_are(store: &Store, at_least: u64) {
    soon(async {
        while store.failing.total(Op::Get) < at_least {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_small_files_come_in_while_a_directory_is_read_in_order() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store());
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    for index in 0..4 {
        assert_eq!(run.cat(&path(index)).await.unwrap(), content(index, 10_000));
    }
    // Nobody has opened these.
    gets_are(&store, 8).await;
    for index in 4..FILES {
        assert_eq!(run.cat(&path(index)).await.unwrap(), content(index, 10_000));
    }
    assert_eq!(store.failing.total(Op::Get), FILES, "each file comes once");
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_in_while_files_are_read_at_random() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store());
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    let order: Vec<u64> = (0..40).map(|nth| (nth * 89 + nth * nth * 7) % FILES).collect();
    let distinct = order.iter().collect::<std::collections::HashSet<_>>().len() as u64;
    for index in order {
        assert_eq!(run.cat(&path(index)).await.unwrap(), content(index, 10_000));
    }
    assert!(store.failing.total(Op::Get) <= distinct + 4, "{} for {distinct}", store.failing.total(Op::Get));
    run.end(true).await;
}

/// A store that does not answer for what is ahead keeps nobody from what he reads.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_ahead_keeps_nobody_from_what_he_reads() {
    let (dir, store, gate) = (tempfile::tempdir().unwrap(), store(), Gate::closed());
    for index in 10..FILES - 1 {
        store.failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::Get).under(&format!("dir/{index:04}")));
    }
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    for index in (0..10).chain([FILES - 1]) {
        assert_eq!(run.cat(&path(index)).await.unwrap(), content(index, 10_000));
    }
    gate.open();
    assert_eq!(run.cat(&path(50)).await.unwrap(), content(50, 10_000));
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefetch_at_work_is_not_helped() {
    let (dir, store, gate) = (tempfile::tempdir().unwrap(), store(), Gate::closed());
    store.memory.put("wanted", content(7, 10_000));
    store.failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::Get).under("wanted"));
    let prefetch = Prefetch { paths: vec!["/wanted".into()], concurrency: 4, ..Prefetch::default() };
    let run = Run::start(dir.path(), &store, Settings { prefetch, ..settings() }, 64);
    gets_are(&store, 1).await;
    for index in 0..20 {
        assert_eq!(run.cat(&path(index)).await.unwrap(), content(index, 10_000));
    }
    assert_eq!(store.failing.total(Op::Get), 21);
    gate.open();
    run.end(true).await;
}
