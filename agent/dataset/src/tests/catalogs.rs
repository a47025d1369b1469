//! Two nodes that show one tree: what the one has listed, the other takes.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use forebay_catalog::{Adoption, Incoming};
use forebay_store::StoreErrorKind;
use forebay_store::failing::{FailingStore, Fault, Gate, Op, Rule};

use super::{Run, Store, content, settings, soon};
use crate::generation::Generation;
use crate::{Catalogs, Consistency, Dataset, Fresh, NoCatalog, Settings};

/// The way to the other node, without a network.
#[derive(Debug, Default)]
struct Other {
    dataset: Mutex<Option<Dataset>>,
    damages: AtomicBool,
    /// Catalogs that were taken.
    taken: AtomicU64,
}

#[async_trait]
impl Catalogs for Other {
    async fn take(&self, tree: &str, fresh: &Fresh, mut into: File, seen: &AtomicU64) -> Option<Duration> {
        let other = self.dataset.lock().unwrap().clone()?;
        assert_eq!(other.tree(), tree);
        loop {
            match other.catalog_for_peer(fresh, false).await {
                Ok(mut catalog) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    let copied = io::copy(&mut catalog.file, &mut into).unwrap();
                    assert_eq!(copied, catalog.len);
                    if self.damages.load(Ordering::Relaxed) {
                        into.set_len(copied - 1).unwrap();
                    }
                    return Some(catalog.age);
                }
                Err(NoCatalog::NotYet(count)) => seen.store(count, Ordering::Relaxed),
                Err(NoCatalog::Never | NoCatalog::NotNow) => return None,
            }
        }
    }
}

/// Two nodes over one store; the second asks the first.
struct Two {
    dir: tempfile::TempDir,
    stores: [Store; 2],
    other: Arc<Other>,
    settings: Settings,
}

impl Two {
    fn new(settings: Settings) -> Self {
        let first = Store::new();
        let second = Store { memory: first.memory.clone(), failing: Arc::new(FailingStore::new(first.memory.clone())) };
        Self { dir: tempfile::tempdir().unwrap(), stores: [first, second], other: Arc::default(), settings }
    }

    fn put(&self, key: &str, seed: u64) {
        self.stores[0].memory.put(key, content(seed, 1000));
    }

    fn state(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }

    fn first(&self) -> Run {
        let run = Run::start(&self.state("first"), &self.stores[0], self.settings.clone(), 64);
        *self.other.dataset.lock().unwrap() = Some(run.dataset.clone());
        run
    }

    fn second(&self) -> Run {
        Run::with(&self.state("second"), &self.stores[1], self.settings.clone(), 64, None, Some(self.other.clone()))
    }

    /// The second after it has lost all that it had.
    async fn second_anew(&self, second: Run) -> Run {
        second.end(true).await;
        std::fs::remove_dir_all(self.state("second")).unwrap();
        self.second()
    }

    fn taken(&self) -> u64 {
        self.other.taken.load(Ordering::Relaxed)
    }

    /// Pages of listings that each node has asked its store for.
    fn pages(&self) -> [u64; 2] {
        self.stores.each_ref().map(|store| store.failing.total(Op::List))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_shows_the_tree_that_another_has_listed_and_waits_for_it() {
    let two = Two::new(settings());
    two.put("a/x", 1);
    let gate = Gate::closed();
    two.stores[0].failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::List));
    let (first, second) = (two.first(), two.second());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*second.dataset.generation().borrow(), 0, "the first is listing");
    gate.open();
    second.listed_after(0).await;
    assert_eq!((two.pages()[1], two.taken()), (0, 1));
    assert_eq!(second.cat("/a/x").await.unwrap(), content(1, 1000));
    assert_eq!(first.find("/a/x").unwrap().ino, second.find("/a/x").unwrap().ino);
    // A Snapshot is the same on a node that comes late, whatever the store has by then.
    two.put("b", 2);
    let second = two.second_anew(second).await;
    second.listed_after(0).await;
    assert!(second.find("/b").is_err() && second.find("/a/x").is_ok());
    assert_eq!(two.pages()[1], 0);
    assert!(second.dataset.inner.age() > Duration::from_millis(300), "it is as old as the first one's");
    first.end(true).await;
    second.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_both_heard_is_answered_by_one_listing() {
    let two = Two::new(settings());
    two.put("a", 1);
    let (first, second) = (two.first(), two.second());
    let (before, own) = (first.listed_after(0).await, second.listed_after(0).await);
    two.put("b", 2);
    // The second hears of it first; nothing older than the wish does.
    let wish = second.dataset.refresh(Some("wish".into()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((second.dataset.refreshed(), two.taken()), (0, 1));
    first.dataset.refresh(Some("wish".into()));
    first.listed_after(before).await;
    let number = second.listed_after(own).await;
    assert_eq!((second.dataset.refreshed(), number, two.pages()[1]), (wish, own + 1, 0));
    assert_eq!(second.cat("/b").await.unwrap(), content(2, 1000));
    // A node that hears of it when it is done, or whose process is another by then, takes what was listed for it.
    first.end(true).await;
    let first = two.first();
    first.dataset.was_refreshed("wish".into());
    let pages = two.pages();
    let second = two.second_anew(second).await;
    let wish = second.dataset.refresh(Some("wish".into()));
    second.listed_after(0).await;
    soon(async {
        while second.dataset.refreshed() < wish {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(two.pages(), pages, "nobody listed");
    first.end(true).await;
    second.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_only_one_node_has_is_listed_by_the_other_for_both() {
    let two = Two::new(settings());
    two.put("a", 1);
    let (first, second) = (two.first(), two.second());
    let (before, own) = (first.listed_after(0).await, second.listed_after(0).await);
    two.put("b", 2);
    second.dataset.refresh(None);
    first.listed_after(before).await;
    second.listed_after(own).await;
    assert!(second.find("/b").is_ok() && two.pages()[1] == 0);
    // A wish with a name: the other lists for it by its name, and is done when it hears of it.
    two.put("c", 3);
    let (before, own) = (*first.dataset.generation().borrow(), *second.dataset.generation().borrow());
    second.dataset.refresh(Some("wish".into()));
    first.listed_after(before).await;
    second.listed_after(own).await;
    assert!(second.find("/c").is_ok());
    let pages = two.pages();
    assert!(first.dataset.refresh(Some("wish".into())) <= first.dataset.refreshed());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((two.pages(), pages[1]), (pages, 0));
    first.end(true).await;
    second.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_with_an_age_is_listed_by_one_node_each_time() {
    let age = Duration::from_secs(3);
    let two = Two::new(Settings { consistency: Consistency::MaxAge(age), ..settings() });
    two.put("a", 1);
    let (first, second) = (two.first(), two.second());
    let mut listed_at = Vec::new();
    for _ in 0..3 {
        let shown = *second.dataset.generation().borrow();
        second.listed_after(shown).await;
        listed_at.push(second.dataset.inner.generations.current().unwrap().catalog.info().listed_at_ns);
    }
    let apart = listed_at.windows(2).all(|two| two[1] - two[0] > 500_000_000);
    assert!(apart, "the same listing was taken twice: {listed_at:?}");
    assert_eq!((two.pages()[1], two.taken()), (0, 3));
    let listed = first.dataset.generation().borrow().abs_diff(3);
    assert!(listed <= 1, "the first listed {listed} times more or fewer than the second took");
    first.end(true).await;
    second.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_from_the_future_is_of_no_known_age() {
    let two = Two::new(settings());
    two.put("a", 1);
    let first = two.first();
    first.listed_after(0).await;
    let current = first.dataset.inner.generations.current().unwrap();
    let (path, info) = (two.dir.path().join("catalog-9.fbc"), current.catalog.info().clone());
    let incoming = Incoming::new(&path).unwrap();
    io::copy(&mut File::open(current.catalog.path()).unwrap(), &mut incoming.file().unwrap()).unwrap();
    let listed_at_ns = info.listed_at_ns + 3_600_000_000_000;
    let adoption = Adoption { dataset: info.dataset, mounts: info.mounts, generation: 9, listed_at_ns };
    let generation = Generation::new(incoming.adopt(adoption).unwrap(), &path).unwrap();
    assert_eq!(generation.age(), Duration::MAX);
    first.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_tree_takes_any_that_is_not_due() {
    let age = Duration::from_secs(60);
    let two = Two::new(Settings { consistency: Consistency::MaxAge(age), ..settings() });
    two.stores[0].failing.inject(Rule::always(Fault::Error(StoreErrorKind::Denied)).on(Op::List));
    let run = two.first();
    let oldest = || run.dataset.inner.how_fresh().since.unwrap().elapsed();
    assert!(oldest() >= age);
    two.stores[0].failing.heal();
    run.listed_after(0).await;
    assert!((age / 2..age).contains(&oldest()), "{:?}", oldest());
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_other_can_help_a_node_lists_for_itself() {
    let two = Two::new(settings());
    two.put("a", 1);
    // Nobody is there.
    let second = two.second();
    second.listed_after(0).await;
    assert!(two.pages()[1] > 0);
    // The other cannot list.
    two.stores[0].failing.inject(Rule::always(Fault::Error(StoreErrorKind::Denied)).on(Op::List));
    let first = two.first();
    two.stores[1].failing.reset_counts();
    let second = two.second_anew(second).await;
    second.listed_after(0).await;
    assert!(two.pages()[1] > 0 && two.taken() == 0);
    // What comes is damaged.
    two.stores[0].failing.heal();
    first.listed_after(0).await;
    two.other.damages.store(true, Ordering::Relaxed);
    two.stores[1].failing.reset_counts();
    let second = two.second_anew(second).await;
    second.listed_after(0).await;
    assert!(two.pages()[1] > 0 && two.taken() == 1);
    assert_eq!(second.cat("/a").await.unwrap(), content(1, 1000));
    // Who must not wait is told at once, and nothing is listed for it.
    let (pages, fresh) = (two.pages(), Fresh { since: Some(Instant::now()), wish: None });
    assert_eq!(first.dataset.catalog_for_peer(&fresh, true).await.unwrap_err(), NoCatalog::NotNow);
    assert_eq!(two.pages(), pages);
    first.end(true).await;
    second.end(true).await;
}
