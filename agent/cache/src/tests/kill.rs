//! A process that fills the cache is killed again and again, at any moment.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::real::{Random, allocated, config, pick};
use super::tools::*;
use crate::*;

const DIR: &str = "FOREBAY_TEST_KILL_DIR";
/// The child has inserted something.
const BEGUN: &str = "begun";
const KEYS: u64 = 80;

/// What the killed process does; by itself, as a test, nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let cache = Cache::open(config(Path::new(&dir), [12, 32])).unwrap();
    let ds = cache.set_dataset("a", DatasetPolicy::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (cache, dir) = (&cache, &dir);
            scope.spawn(move || {
                let mut random = Random(u64::from(std::process::id()) * 7 + thread);
                let mut told = false;
                loop {
                    let (key, size, block) = pick(&mut random, KEYS);
                    let object = object(cache, ds, key, size);
                    if !check(&object, key, block) {
                        insert(&object, key, block);
                        if !std::mem::replace(&mut told, true) {
                            std::fs::write(Path::new(&dir).join(BEGUN), "").unwrap();
                        }
                    }
                    match random.below(40) {
                        0 => {
                            object.evict();
                        }
                        1 => drop(object.pin()),
                        2..5 => object.unpin(),
                        5 => cache.flush(),
                        _ => {}
                    }
                }
            });
        }
        if std::process::id().is_multiple_of(2) {
            let _ = cache.recover(&stop);
        }
    });
}

#[test]
fn nothing_wrong_is_served_after_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let mut found = 0;
    for round in 0..24 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::kill::child", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        // Also while it starts; but in most rounds it has begun, however slow the machine is.
        if round % 4 != 0 {
            super::real::until(|| std::fs::remove_file(dir.path().join(BEGUN)).is_ok());
        }
        std::thread::sleep(Duration::from_millis(20 + random.below(200)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success() && status.code().is_none(), "ended by itself: {status}");

        let config = config(dir.path(), [12, 32]);
        for tier in &config.tiers {
            let real = allocated(&tier.dir.join("objects")) + allocated(&tier.dir.join("tmp"));
            assert!(real <= tier.capacity, "round {round}: {real} of {}", tier.capacity);
        }
        let cache = Cache::open(config.clone()).unwrap();
        let ds = cache.set_dataset("a", DatasetPolicy::default());
        let scan_first = round % 2 == 0;
        if scan_first {
            cache.recover(&AtomicBool::new(false)).unwrap();
        }
        for key in 0..KEYS {
            let size = super::real::SIZES[key as usize % 6];
            let object = object(&cache, ds, key, size);
            for block in (0..block_count(size)).filter(|block| size < 20 * BLOCK || block % 27 == 0) {
                found += u64::from(check(&object, key, block));
            }
        }
        let report = cache.recover(&AtomicBool::new(false)).unwrap();
        assert!(report.failed_tiers.is_empty(), "{report:?}");
        assert_eq!(cache.stats().verify_failures, 0, "a kill damages no block that is said to be there");
        for (tier, usage) in config.tiers.iter().zip(cache.usage().tiers) {
            let real = allocated(&tier.dir.join("objects"));
            assert!(real <= usage.charged && usage.charged <= usage.capacity, "round {round}: {real} {usage:?}");
            assert_eq!(std::fs::read_dir(tier.dir.join("tmp")).unwrap().count(), 0);
        }
        cache.close();
    }
    assert!(found > 100, "only {found} blocks were ever found: the children did nothing");
}
