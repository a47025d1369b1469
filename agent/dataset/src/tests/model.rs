//! Tree, cache and store together against a plain map: whatever happens in whatever order, a read gives the bytes of
//! the version that was opened, or an error; and without faults it gives the bytes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_fs::{FsError, Handle, Tree};
use forebay_store::StoreErrorKind;
use forebay_store::failing::{Fault, Seeded};
use proptest::prelude::*;

use super::{Run, Store, content, settings};
use crate::{Prefetch, Settings};

const FILES: usize = 6;
/// The smallest tier there is; the files grow beyond it.
const TIER_BLOCKS: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    Read {
        file: usize,
        at: u64,
        len: u32,
    },
    Hold {
        file: usize,
    },
    ReadHeld {
        which: usize,
        at: u64,
        len: u32,
    },
    Release {
        which: usize,
    },
    /// `None`: other bytes of the same length, which only the version tells apart.
    Change {
        file: usize,
        size: Option<usize>,
    },
    Remove {
        file: usize,
    },
    Refresh,
    Evict {
        file: usize,
    },
    Pin {
        file: usize,
    },
    Unpin {
        file: usize,
    },
    Faults {
        per_mille: u16,
        seed: u64,
    },
    Heal,
    Restart {
        cleanly: bool,
        damage: Option<u64>,
        quota: Option<u64>,
        eager: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (file, at, len) = (0..FILES, 0..5u64 << 20, 0..2u32 << 20);
    prop_oneof![
        8 => (file.clone(), at.clone(), len.clone()).prop_map(|(file, at, len)| Step::Read { file, at, len }),
        3 => file.clone().prop_map(|file| Step::Hold { file }),
        6 => (0..8usize, at, len).prop_map(|(which, at, len)| Step::ReadHeld { which, at, len }),
        1 => (0..8usize).prop_map(|which| Step::Release { which }),
        3 => (file.clone(), prop::option::of(0..4usize << 20)).prop_map(|(file, size)| Step::Change { file, size }),
        1 => file.clone().prop_map(|file| Step::Remove { file }),
        2 => Just(Step::Refresh),
        2 => file.clone().prop_map(|file| Step::Evict { file }),
        1 => file.clone().prop_map(|file| Step::Pin { file }),
        1 => file.prop_map(|file| Step::Unpin { file }),
        2 => (0..700u16, any::<u64>()).prop_map(|(per_mille, seed)| Step::Faults { per_mille, seed }),
        2 => Just(Step::Heal),
        2 => (any::<bool>(), prop::option::of(any::<u64>()), prop::option::of(0..4u64 << 20), any::<bool>())
            .prop_map(|(cleanly, damage, quota, eager)| Step::Restart { cleanly, damage, quota, eager }),
    ]
}

/// What must be true, by the simplest means.
#[derive(Default)]
struct Reference {
    /// The store now.
    store: BTreeMap<String, Vec<u8>>,
    /// The tree as last listed.
    tree: BTreeMap<String, Vec<u8>>,
    changes: u64,
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    run: Option<Run>,
    reference: Reference,
    held: Vec<(Handle, Vec<u8>)>,
    healthy: bool,
}

fn key(file: usize) -> String {
    format!("d{}/f{file}", file % 2)
}

impl World {
    async fn new() -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
        let run = Run::start(dir.path(), &store, settings(), TIER_BLOCKS);
        let mut world = Self { dir, store, run: Some(run), reference: Reference::default(), held: Vec::new(), healthy: true };
        world.run().listed_after(0).await;
        for file in 0..FILES {
            world.change(file, [0, 100, 70_000, 3 << 20, (1 << 20) + 1, 4 << 20][file]);
        }
        world.refresh().await;
        world
    }

    fn run(&self) -> &Run {
        self.run.as_ref().unwrap()
    }

    fn change(&mut self, file: usize, size: usize) {
        self.reference.changes += 1;
        let bytes = content(self.reference.changes, size);
        self.store.memory.put(&key(file), bytes.clone());
        self.reference.store.insert(key(file), bytes);
    }

    async fn refresh(&mut self) {
        self.heal().await;
        let before = *self.run().dataset.generation().borrow();
        self.run().dataset.refresh(None);
        self.run().listed_after(before).await;
        self.reference.tree = self.reference.store.clone();
    }

    /// What began while the store was unwell ends first: a read would join it and fail with it.
    async fn heal(&mut self) {
        self.store.failing.heal();
        for _ in 0..500 {
            if self.store.failing.in_flight() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // From the end of a request to the end of who shares it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.healthy = true;
    }

    /// A read of a version whose bytes are `expected`. It may fail when the store is unwell or has another version.
    async fn check(&self, handle: Handle, expected: &[u8], at: u64, len: u32, current: bool) {
        match self.run().read(handle, at, len).await {
            Ok(bytes) => {
                let start = expected.len().min(usize::try_from(at).unwrap());
                let end = expected.len().min(start + len as usize);
                assert!(bytes == expected[start..end], "wrong bytes: {len} at {at} of {}", expected.len());
            }
            Err(FsError::Stale { .. }) => assert!(!current || !self.healthy, "stale, yet the store has the version"),
            Err(FsError::InvalidHandle) => assert!(!current, "a handle of the current generation"),
            Err(error) => assert!(!self.healthy, "{error}"),
        }
    }

    async fn act(&mut self, step: Step) {
        match step {
            Step::Read { file, at, len } => {
                let expected = self.reference.tree.get(&key(file)).cloned();
                match (self.run().open(&key(file)).await, expected) {
                    (Ok(handle), Some(expected)) => {
                        let current = self.reference.store.get(&key(file)) == Some(&expected);
                        self.check(handle, &expected, at, len, current).await;
                        self.run().dataset.release(handle);
                    }
                    (Err(FsError::NotFound), None) => {}
                    (opened, expected) => panic!("{opened:?}, expected to be there: {}", expected.is_some()),
                }
            }
            Step::Hold { file } => {
                if let (Ok(handle), Some(bytes)) = (self.run().open(&key(file)).await, self.reference.tree.get(&key(file))) {
                    self.held.push((handle, bytes.clone()));
                }
            }
            Step::ReadHeld { which, at, len } => {
                if let Some((handle, expected)) = self.held.get(which).cloned() {
                    self.check(handle, &expected, at, len, false).await;
                }
            }
            Step::Release { which } => {
                if which < self.held.len() {
                    let (handle, _) = self.held.swap_remove(which);
                    self.run().dataset.release(handle);
                }
            }
            Step::Change { file, size } => {
                let same = self.reference.store.get(&key(file)).map_or(10, Vec::len);
                self.change(file, size.unwrap_or(same));
            }
            Step::Remove { file } => {
                self.store.memory.remove(&key(file));
                self.reference.store.remove(&key(file));
            }
            Step::Refresh => self.refresh().await,
            Step::Evict { file } => self.with_object(file, |object| _ = object.evict()),
            Step::Pin { file } => self.with_object(file, |object| _ = object.pin()),
            Step::Unpin { file } => self.with_object(file, |object| object.unpin()),
            Step::Faults { per_mille, seed } => {
                let faults = vec![
                    Fault::Error(StoreErrorKind::Unavailable),
                    Fault::Error(StoreErrorKind::Timeout),
                    Fault::Truncate(1000),
                    Fault::Break(1 << 20, StoreErrorKind::Unavailable),
                ];
                self.store.failing.set_seeded(Some(Seeded { seed, per_mille, faults }));
                self.healthy = false;
            }
            Step::Heal => self.heal().await,
            Step::Restart { cleanly, damage, quota, eager } => {
                self.run.take().unwrap().end(cleanly).await;
                if let Some(seed) = damage {
                    flip_a_bit(&self.dir.path().join("tier"), seed);
                }
                let paths = if eager { vec!["/".to_owned()] } else { Vec::new() };
                let prefetch = Prefetch { paths, ..settings().prefetch };
                let settings = Settings { quota, prefetch, ..settings() };
                self.run = Some(Run::start(self.dir.path(), &self.store, settings, TIER_BLOCKS));
                self.run().listed_after(0).await;
            }
        }
        let used = || -> u64 {
            let files = files(&self.dir.path().join("tier"));
            files.iter().filter_map(|path| path.metadata().ok()).map(|m| m.blocks() * 512).sum()
        };
        // A walk that is held up sees a file that goes and the one that comes for it.
        let mut least = used();
        for _ in 0..20 {
            if least > TIER_BLOCKS << 20 {
                least = least.min(used());
            }
        }
        assert!(least <= TIER_BLOCKS << 20, "{least} bytes on the disk of a tier of {TIER_BLOCKS} MiB");
    }

    fn with_object(&self, file: usize, act: impl FnOnce(&forebay_cache::Object)) {
        let Some(generation) = self.run().dataset.inner.generations.current() else { return };
        let Some(entry) = generation.catalog.by_path(&key(file)) else { return };
        act(&self.run().dataset.inner.remote(&entry, None).unwrap().object);
    }
}

/// All files below `dir`, in order. The cache may remove some meanwhile.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { dirs.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Damages one file of the tier, chosen by `seed`.
fn flip_a_bit(dir: &Path, seed: u64) {
    let files = files(dir);
    let Some(path) = (!files.is_empty()).then(|| &files[usize::try_from(seed).unwrap_or(usize::MAX) % files.len()]) else {
        return;
    };
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    if len > 0 {
        let (at, mut byte) = (seed % len, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << (seed % 8)], at).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_events_gives_a_wrong_byte(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.act(step).await;
            }
            world.run.take().unwrap().end(true).await;
        });
    }
}
