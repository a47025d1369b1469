use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_crds::{Phase, conditions};
use forebay_store::failing::Op;
use forebay_store::{StoreId, Version};
use tokio::sync::watch;

use super::{Run, Store, content, settings};
use crate::{Prefetch, Settings, Share};

/// Ranks of keys; what is not named others keep.
#[derive(Debug)]
struct Ranks {
    of: Mutex<BTreeMap<String, usize>>,
    leaving: AtomicBool,
    members: watch::Sender<u64>,
}

impl Ranks {
    fn new() -> Arc<Self> {
        Arc::new(Self { of: Mutex::default(), leaving: AtomicBool::new(false), members: watch::Sender::new(0) })
    }

    fn set(&self, members: u64, of: &[(&str, usize)]) {
        *self.of.lock().unwrap() = of.iter().map(|(key, rank)| ((*key).to_owned(), *rank)).collect();
        self.members.send_replace(members);
    }
}

impl Share for Ranks {
    fn copies(&self) -> usize {
        2
    }
    fn rank(&self, _: &StoreId, key: &str, _: &Version) -> Option<usize> {
        self.of.lock().unwrap().get(key).copied()
    }
    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }
    fn is_urgent(&self) -> bool {
        false
    }
    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }
    fn members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }
}

fn store(files: &[&str]) -> Store {
    let store = Store::new();
    for (index, key) in files.iter().enumerate() {
        store.memory.put(key, content(index as u64, 1 << 20));
    }
    store
}

fn is_moving(status: &forebay_crds::DatasetStatus) -> bool {
    status.conditions.iter().any(|condition| condition.reason == conditions::reason::MOVING)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_brings_in_and_pins_its_share_and_what_it_is_to_keep_when_others_go() {
    let (dir, store, ranks) = (tempfile::tempdir().unwrap(), store(&["a", "b", "c", "d"]), Ranks::new());
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let run = Run::sharing(dir.path(), &store, pinning, 64, Some(ranks.clone()));
    run.listed_after(0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.failing.total(Op::Get), 0, "nobody knows its share before it knows the others");
    ranks.set(1, &[("a", 0), ("b", 1)]);
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 2 << 20).await;
    assert_eq!(run.dataset.status().prefetch.total_files, 2);
    ranks.set(2, &[("a", 0), ("b", 0), ("c", 1)]);
    run.until(is_moving).await;
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 3 << 20).await;
    // A node has come that keeps c: it is let go after a while, and not taken away.
    ranks.set(3, &[("a", 0), ("b", 0)]);
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 2 << 20).await;
    assert_eq!(run.dataset.status().cache.bytes, 3 << 20);
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_is_let_go_also_of_a_tree_that_is_listed_again_and_again() {
    let (dir, store, ranks) = (tempfile::tempdir().unwrap(), store(&["a", "b"]), Ranks::new());
    ranks.set(1, &[("a", 0), ("b", 0)]);
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let run = Run::sharing(dir.path(), &store, pinning, 64, Some(ranks.clone()));
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 2 << 20).await;
    ranks.set(2, &[("a", 0)]);
    let listing = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            run.dataset.refresh(None);
        }
    };
    tokio::select! {
        () = listing => {}
        _ = run.until(|status| status.cache.pinned_bytes == 1 << 20) => {}
    }
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_came_to_keep_while_this_node_was_away_is_let_go() {
    let (dir, store) = (tempfile::tempdir().unwrap(), store(&["a", "b"]));
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    for (members, of, pinned) in [(1, &[("a", 0), ("b", 0)][..], 2 << 20), (2, &[("a", 0)][..], 1 << 20)] {
        let ranks = Ranks::new();
        ranks.set(members, of);
        let run = Run::sharing(dir.path(), &store, pinning.clone(), 64, Some(ranks));
        run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == pinned).await;
        run.end(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_back_at_once_move_nothing() {
    let (dir, store, ranks) = (tempfile::tempdir().unwrap(), store(&["a", "b"]), Ranks::new());
    ranks.set(1, &[("a", 0)]);
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let run = Run::sharing(dir.path(), &store, pinning, 64, Some(ranks.clone()));
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 1 << 20).await;
    ranks.set(2, &[("a", 0), ("b", 0)]);
    run.until(is_moving).await;
    ranks.set(1, &[("a", 0)]);
    run.until(|status| status.phase == Phase::Ready).await;
    assert_eq!((run.dataset.status().cache.bytes, store.failing.total(Op::Get)), (1 << 20, 1));
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_keeps_what_is_pinned_until_it_goes() {
    let store = store(&["a"]);
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let (dirs, all) = ([(); 2].map(|()| tempfile::tempdir().unwrap()), [Ranks::new(), Ranks::new()]);
    let runs = [0, 1].map(|n| Run::sharing(dirs[n].path(), &store, pinning.clone(), 64, Some(all[n].clone())));
    all[0].leaving.store(true, Ordering::SeqCst);
    for (run, ranks) in runs.iter().zip(&all) {
        ranks.set(1, &[("a", 0)]);
        run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 1 << 20).await;
    }
    // Others keep it now. The second node stays and lets go of it, later than the first one could.
    all.iter().for_each(|ranks| ranks.set(2, &[]));
    runs[1].until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(runs[0].dataset.status().cache.pinned_bytes, 1 << 20);
    for run in runs {
        run.end(true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_fit_is_pinned_once_another_node_keeps_a_part() {
    let files: Vec<String> = (0..24).map(|n| format!("{n:02}")).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (dir, store, ranks) = (tempfile::tempdir().unwrap(), store(&names), Ranks::new());
    let all: Vec<(&str, usize)> = names.iter().map(|&name| (name, 0)).collect();
    ranks.set(1, &all);
    let pinning = Settings { pins: vec!["/".into()], ..settings() };
    let run = Run::sharing(dir.path(), &store, pinning, 20, Some(ranks.clone()));
    run.until(|status| status.conditions.iter().any(|one| one.reason == conditions::reason::OUT_OF_SPACE)).await;
    // What it keeps from now on is what did not fit, and a little of what did; the rest it gives to the other, and then it makes room.
    ranks.set(2, &all[12..]);
    run.until(|status| status.phase == Phase::Ready && status.cache.pinned_bytes == 12 << 20).await;
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_makes_room_for_what_this_node_keeps_first_and_never_pushes_it_out() {
    let files: Vec<String> = (0..12).map(|n| format!("own/{n:02}")).chain((0..40).map(|n| format!("other/{n:02}"))).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (dir, store, ranks) = (tempfile::tempdir().unwrap(), store(&names), Ranks::new());
    ranks.set(1, &[]);
    let eager = Prefetch { paths: vec!["/".into()], concurrency: 4, ..Prefetch::default() };
    let run = Run::sharing(dir.path(), &store, Settings { prefetch: eager, ..settings() }, 20, Some(ranks.clone()));
    run.until(|status| status.phase == Phase::Ready).await;
    for (index, name) in files.iter().enumerate().skip(12) {
        assert_eq!(run.cat(&format!("/{name}")).await.unwrap(), content(index as u64, 1 << 20));
    }
    let own: Vec<(&str, usize)> = names[..12].iter().map(|&name| (name, 0)).collect();
    ranks.set(2, &own);
    run.until(is_moving).await;
    run.until(|status| status.phase == Phase::Ready && status.prefetch.done_files == 12).await;
    for (index, name) in files.iter().enumerate().skip(12) {
        assert_eq!(run.cat(&format!("/{name}")).await.unwrap(), content(index as u64, 1 << 20));
    }
    store.failing.reset_counts();
    for (index, name) in files.iter().enumerate().take(12) {
        assert_eq!(run.cat(&format!("/{name}")).await.unwrap(), content(index as u64, 1 << 20));
    }
    assert_eq!(store.failing.total(Op::Get), 0, "what this node keeps is still here");
    run.end(true).await;
}
