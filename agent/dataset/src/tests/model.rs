//! Tree, cache, disk and store together against a plain map: whatever happens in whatever order, a read gives the bytes of
//! the version that was opened, or an error; and while the store is well it gives the bytes of what the store has. That holds on each step of
//! the ladder: through the tree, from the cached file that the tree lends, and as a composed mount reads.

mod disk;
mod ladder;
mod reference;
mod step;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache::ManualClock;
use forebay_cache::io::Faults;
use forebay_fs::Tree;
use proptest::prelude::*;

use super::{Run, Store, soon};
use crate::Settings;
use ladder::{Held, Lent, Mounted};
use reference::{KEYS, Reference};
use step::{Step, Way, step};

/// The smallest tier there is; the files grow beyond it.
const TIER_BLOCKS: u64 = 8;

struct World {
    dir: tempfile::TempDir,
    store: Store,
    store_well: bool,
    /// Faults of the cache's disk, and what it is like by them.
    faults: Faults,
    disk: Disk,
    /// The cache's.
    clock: Arc<ManualClock>,
    settings: Settings,
    run: Option<Run>,
    /// Handles may be a former process's, which this one counts as nobody's until they are read.
    restarted: bool,
    reference: Reference,
    held: Vec<Held>,
    lent: Vec<Lent>,
    mounts: Vec<Mounted>,
    /// The directories of published files, as composed mounts were given them.
    published: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Well,
    Failing,
    /// From some moment on nothing reaches it: only another process can go on with it.
    Dying,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_events_gives_a_wrong_byte(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.act(step).await;
            }
            world.end().await;
        });
    }
}

/// Where the model's ways to read all ended in the lowest, it would say nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_the_ladder_is_really_taken() {
    let mut world = World::new().await;
    // One of a single block, one of two.
    for file in [2, 4] {
        let key = KEYS[file];
        world.act(Step::Read { file, at: 0, len: 5 << 20, way: Way::Served }).await;
        soon(async {
            while !world.object(key).unwrap().is_complete() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let held = world.open(key).await.unwrap();
        assert!(world.borrow(&held).is_some(), "{key} is complete and is not lent");
        world.run().dataset.release(held.handle);

        world.compose();
        // One that is not pinned may be published by itself, if it is small.
        let is_small = held.version.bytes.len() as u64 <= forebay_cache::BLOCK;
        assert!(is_small || world.published_file(&held.version).is_none(), "{key} is not pinned");
        let by_name = world.open_by_name(key, held.version.clone()).await;
        assert!(world.borrow(&by_name).is_some(), "{key} is found by its object's name and is not lent");
        world.run().dataset.release(by_name.handle);
        world.act(Step::Pin { file }).await;
        assert!(world.published_file(&held.version).is_some(), "{key} is pinned and is not published");
        world.act(Step::Read { file, at: 0, len: 10, way: Way::Composed { mount: 0 } }).await;
    }
    assert_eq!(world.lent.len(), 2, "published files are open");
    world.end().await;
}
