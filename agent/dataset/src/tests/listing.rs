//! The listing that goes down the stores in parallel, against one flat listing of each.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use forebay_catalog::{Builder, BuilderConfig, Catalog, Listed};
use forebay_store::failing::{Fault, Gate, Op, Rule};
use forebay_store::memory::MemoryStore;
use forebay_store::{GetStream, ListPage, ListRequest, ObjectMeta, StoreId, StoreResult, UnderStore, Unrepresentable, Version};
use proptest::prelude::*;

use super::{Store, soon};
use crate::{Mount, listing};

/// Prefixes of one mount that may be listed at a time, and mounts.
const PARALLEL: usize = 16;
const MOUNTS: usize = 4;

/// A store that knows of names that are no text, each in its directory as a file system has it, and whose answers come in another order
/// than the questions.
#[derive(Debug)]
struct Odd {
    objects: Arc<MemoryStore>,
    /// By the prefix of their directory.
    unrepresentable: Vec<(String, Unrepresentable)>,
}

#[async_trait]
impl UnderStore for Odd {
    fn id(&self) -> &StoreId {
        self.objects.id()
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        let bytes = request.prefix.bytes().chain(request.page.iter().flat_map(|page| page.0.bytes()));
        for _ in 0..bytes.map(usize::from).sum::<usize>() % 7 {
            tokio::task::yield_now().await;
        }
        let mut page = self.objects.list(request.clone()).await?;
        if request.page.is_none() {
            let within = |directory: &str| match request.recursive {
                true => directory.starts_with(&request.prefix),
                false => directory == request.prefix,
            };
            let names = self.unrepresentable.iter().filter(|(directory, _)| within(directory));
            page.unrepresentable = names.map(|(_, name)| name.clone()).collect();
        }
        Ok(page)
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        self.objects.head(key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        self.objects.get(key, version, range).await
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "[a-c]",
        3 => Just(String::new()),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("ä b\\".to_owned()),
        1 => Just("nul\0".to_owned()),
        1 => Just("n".repeat(255)),
        1 => Just("l".repeat(256)),
    ]
}

/// Keys that are files, that lead to others, that are no file's name, and that lie deeper than the tree is split.
fn key() -> impl Strategy<Value = String> {
    let key = (prop::collection::vec(segment(), 1..9), prop::bool::weighted(0.15))
        .prop_map(|(names, slash)| names.join("/") + if slash { "/" } else { "" })
        .boxed();
    prop_oneof![
        6 => key.clone(),
        // Enough prefixes of one level that it is not split further.
        3 => (0..50u8, key).prop_map(|(wide, key)| format!("w{wide:02}/{key}")),
        1 => Just(vec!["deep".repeat(60); 18].join("/")),
    ]
}

/// Objects by key with their sizes, and at which of them a name lies that is no text.
#[derive(Clone, Debug)]
struct Content {
    objects: Vec<(String, usize)>,
    unrepresentable: Vec<prop::sample::Index>,
    page_size: usize,
}

fn content() -> impl Strategy<Value = Content> {
    let objects = prop::collection::vec((key(), 0..3usize), 0..90);
    let names = prop::collection::vec(any::<prop::sample::Index>(), 0..20);
    (objects, names, prop_oneof![1..9usize, Just(1000)]).prop_map(|(objects, unrepresentable, page_size)| Content {
        objects,
        unrepresentable,
        page_size,
    })
}

fn odd(id: &str, content: &Content) -> Arc<Odd> {
    let objects = Arc::new(MemoryStore::new(id));
    for (key, size) in &content.objects {
        objects.put(key, vec![7u8; *size]);
    }
    let keys = objects.keys();
    let names = content.unrepresentable.iter().filter(|_| !keys.is_empty()).enumerate().map(|(nth, at)| {
        let key = at.get(&keys);
        let directory = key.rfind('/').map_or("", |slash| &key[..=slash]).to_owned();
        let lossy = format!("{directory}{nth}\u{fffd}");
        (directory, Unrepresentable { lossy, reason: "the name is not UTF-8".into() })
    });
    Arc::new(Odd { unrepresentable: names.collect(), objects })
}

fn mount(path: &str, store: Arc<dyn UnderStore>, exclude: &[&str]) -> Mount {
    let exclude = exclude.iter().map(|&glob| glob.to_owned()).collect();
    Mount { path: path.into(), reader: store.clone(), background: store, for_peers: None, include: Vec::new(), exclude }
}

fn builder(mounts: &[Mount], dir: &Path) -> Builder {
    let mounts = mounts.iter().map(Mount::spec).collect();
    let config = BuilderConfig { dataset: "ml/set".into(), generation: 1, listed_at_ns: 7, mounts, memory: 1 << 16 };
    Builder::new(dir, config).unwrap()
}

/// As a Dataset lists; and how many objects it saw.
async fn split(mounts: &[Mount], dir: &Path) -> (Catalog, u64) {
    let (seen, free) = (AtomicU64::new(0), Arc::new(tokio::sync::Mutex::new(())));
    let (writing, path) = (Arc::new(free.lock_owned().await), dir.join("split.fbc"));
    let catalog = soon(listing::list(mounts, builder(mounts, dir), &path, &seen, writing)).await.unwrap();
    (catalog, seen.into_inner())
}

/// All that the stores have, told in one go; and how many objects that are.
async fn flat(mounts: &[Mount], dir: &Path) -> (Catalog, u64) {
    let (mut builder, mut count) = (builder(mounts, dir), 0);
    for (number, mount) in (0..).zip(mounts) {
        let mut page = None;
        loop {
            let request = ListRequest { prefix: String::new(), recursive: true, page };
            let listed = mount.background.list(request).await.unwrap();
            for name in &listed.unrepresentable {
                builder.reject(number, &name.lossy, &name.reason).unwrap();
            }
            for object in &listed.objects {
                let version = object.version.to_token();
                let listed = Listed { key: &object.key, size: object.size, mtime_ns: object.mtime_ns, version: &version };
                builder.add(number, listed).unwrap();
                count += 1;
            }
            page = listed.next;
            if page.is_none() {
                break;
            }
        }
    }
    (builder.finish(&dir.join("flat.fbc")).unwrap(), count)
}

/// Every entry by path, with all that a file is read by.
fn tree(catalog: &Catalog) -> Vec<(String, bool, u64, u16, String, String)> {
    let entries = (0..catalog.len()).filter_map(|index| catalog.entry(index));
    let shown = entries.map(|entry| {
        let (key, version) = (entry.key().into_owned(), entry.version().into_owned());
        (entry.path(), entry.is_dir(), entry.size(), entry.mount(), key, version)
    });
    shown.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn a_split_listing_is_the_flat_one(root in content(), nested in content(), excludes in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let stores = [odd("memory://root", &root), odd("memory://nested", &nested)];
            let exclude: &[&str] = if excludes { &["**/b", "w1*/**"] } else { &[] };
            let mounts = [mount("/", stores[0].clone(), exclude), mount("/a/b", stores[1].clone(), &[])];
            let (flat, count) = flat(&mounts, dir.path()).await;
            for (store, content) in stores.iter().zip([&root, &nested]) {
                store.objects.set_page_size(content.page_size);
            }
            let (split, seen) = split(&mounts, dir.path()).await;
            assert_eq!(seen, count, "each object is listed once");
            assert_eq!(split.report(), flat.report());
            let unrepresentable: usize = stores.iter().map(|store| store.unrepresentable.len()).sum();
            assert_eq!(split.report().listed(), count + unrepresentable as u64, "each has one fate");
            assert_eq!(tree(&split), tree(&flat));
            let bytes = |catalog: &Catalog| std::fs::read(catalog.path()).unwrap();
            assert!(bytes(&split) == bytes(&flat), "the catalogs differ");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_tree_is_listed_by_many_requests_and_never_by_more_than_the_bound() {
    for wanted in [1, 6] {
        let (dir, store, gate) = (tempfile::tempdir().unwrap(), Store::new(), Gate::closed());
        for prefix in 0..40 {
            store.memory.put(&format!("d{prefix:02}/x"), "x");
        }
        store.failing.inject(Rule::always(Fault::Wait(gate.clone())).on(Op::List).under("d"));
        let mounts: Vec<Mount> = (0..wanted).map(|nth| mount(&format!("/{nth}"), store.failing.clone(), &[])).collect();
        let bound = PARALLEL * mounts.len().min(MOUNTS);
        let open = async {
            soon(async {
                while store.failing.in_flight() < bound {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // Whatever else would begin begins now.
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.open();
        };
        let ((catalog, seen), ()) = tokio::join!(split(&mounts, dir.path()), open);
        assert_eq!(store.failing.peak_in_flight(), bound);
        assert_eq!((catalog.info().files, seen), (40 * wanted, 40 * wanted));
    }
}
