//! Every file read through the mount is the source's, whatever happened before.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_e2e::{Fault, RequestKind, Rule, S3Server, TreeSum, wait_until};

use crate::support::{SOON, Site, disk_usage, is_cached, noise, read_at};

#[test]
fn cold_and_then_warm_without_the_store() {
    for server in [S3Server::versitygw, S3Server::minio] {
        let mut site = Site::before(server).with_tree();
        let mut agent = site.start(&site.manifest("tree", "4Gi"));
        let expected = TreeSum::of(&site.source, 4).unwrap();
        let cold = TreeSum::of(&agent.root(), 4).unwrap();
        assert_eq!(expected.differences(&cold), [""; 0], "cold");
        assert_eq!(expected.digest(), cold.digest());

        site.proxy.down();
        let warm = TreeSum::of(&agent.root(), 4).unwrap();
        assert_eq!(expected.differences(&warm), [""; 0], "warm, from the cache alone");
        assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    }
}

#[test]
fn after_kill_9_during_prefetch() {
    let site = Site::new().with_tree();
    let manifest = site.manifest("tree", "4Gi").with("prefetch: {policy: Eager, concurrency: 4}");
    let slow = site.proxy.add(Rule::gets(Fault::Slow(400_000)));
    let mut agent = site.start(&manifest);
    agent
        .wait_status("some files to be fetched", SOON, |s| {
            let done = s["prefetch"]["doneFiles"].as_u64().unwrap_or(0);
            done > 20 && done < s["catalog"]["files"].as_u64().unwrap_or(0)
        })
        .unwrap();
    agent.kill().unwrap();
    site.proxy.remove(slow);
    let before = site.proxy.count(RequestKind::Get);

    let mut agent = site.start(&manifest);
    let expected = TreeSum::of(&site.source, 4).unwrap();
    let found = TreeSum::of(&agent.root(), 4).unwrap();
    assert_eq!(expected.differences(&found), [""; 0]);
    agent.wait_status("the prefetch to end", SOON, is_cached).unwrap();
    assert!(site.proxy.count(RequestKind::Get) > before, "the rest came from the store");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn with_a_cache_of_a_tenth_of_the_tree() {
    let site = Site::new().with_tree();
    // The smallest cache that a manifest may ask for is 16 MiB: a large file makes the tree ten times that.
    let more = site.dir.path().join("more");
    fs::create_dir(&more).unwrap();
    fs::write(more.join("noise"), noise(1, 90 << 20)).unwrap();
    site.client.upload(&more, "data/more").unwrap();
    fs::rename(&more, site.source.join("more")).unwrap();
    let expected = TreeSum::of(&site.source, 4).unwrap();
    let capacity = expected.bytes() / 10;
    let mut agent = site.start(&site.manifest("tree", &capacity.to_string()));
    let tier = agent.files.tier.clone();
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(disk_usage(&tier));
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        for round in 1..=2 {
            let found = TreeSum::of(&agent.root(), 4).unwrap();
            assert_eq!(expected.differences(&found), [""; 0], "round {round}");
        }
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    });
    // What counts is data; the index and the directories themselves come on top.
    let allowed = capacity + (8 << 20);
    assert!(most <= allowed, "the tier took {most} bytes of {capacity}");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn with_sixteen_readers_at_random_offsets() {
    let site = Site::new().with_files(&[("one", 9 << 20), ("dir/two", (3 << 20) + 17), ("dir/small", 999), ("four", 4 << 20)]);
    let mut agent = site.start(&site.manifest("random", "1Gi"));
    let names = ["one", "dir/two", "dir/small", "four"];
    let sources: Vec<_> = names.iter().map(|n| site.bytes(n)).collect();
    let root = agent.root();
    std::thread::scope(|scope| {
        for reader in 0..16u64 {
            let (sources, root) = (&sources, &root);
            scope.spawn(move || {
                for word in noise(reader + 100, 150 * 8).chunks(8) {
                    let word = u64::from_le_bytes(word.try_into().unwrap());
                    let file = (word % 4) as usize;
                    let source = &sources[file];
                    let offset = (word >> 8) as usize % source.len();
                    let length = ((word >> 40) as usize % 300_000).min(source.len() - offset);
                    let read = read_at(&root.join(names[file]), offset as u64, length).unwrap();
                    assert!(read == source[offset..offset + length], "{} at {offset}, {length} bytes", names[file]);
                }
            });
        }
    });
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn a_block_is_fetched_once_however_many_wait_for_it() {
    let site = Site::new().with_files(&[("shared", 6 << 20)]);
    site.proxy.add(Rule::gets(Fault::Delay(Duration::from_millis(200))));
    let agent = site.start(&site.manifest("once", "1Gi"));
    let (path, source) = (agent.root().join("shared"), site.bytes("shared"));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(fs::read(&path).unwrap() == source));
        }
    });
    let passed = site.proxy.seen().iter().filter(|s| s.kind == RequestKind::Get).map(|s| s.bytes).sum::<u64>();
    assert!(passed <= 7 << 20, "16 readers made the store send {passed} bytes of {}", source.len());
}

#[test]
fn a_read_streams_before_its_file_is_complete() {
    let site = Site::new().with_files(&[("large", 24 << 20)]);
    site.proxy.add(Rule::gets(Fault::Slow(2 << 20)));
    let agent = site.start(&site.manifest("stream", "1Gi"));
    let path = agent.root().join("large");
    let first = read_at(&path, 0, 4096).unwrap();
    assert!(first == site.bytes("large")[..4096]);
    let passed = wait_until("any request", SOON, || Ok(Some(site.proxy.bytes()))).unwrap();
    assert!(passed < 16 << 20, "the first 4 KiB came after {passed} bytes");
}
