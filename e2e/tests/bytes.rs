//! Every file read through the mount is the source's, whatever happened before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forebay_e2e::{Fault, Process, RequestKind, Rule, S3Server, TreeSum, wait_until};
use rustix::process::Signal;

use crate::metrics::{get, sample};
use crate::readers::{Dice, Ends};
use crate::support::{SOON, Site, disk_usage, drop_pages, is_cached, noise, read_afresh, read_at};

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
    let (root, tier, done) = (agent.root(), agent.files.tier.clone(), AtomicBool::new(false));
    let process = &mut agent.process;
    let (most, again) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(usage_at_one_instant(process, &tier));
                thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let again = {
            let _ends = Ends(&done);
            let mut came = 0;
            for round in 1..=2 {
                site.proxy.reset_counts();
                // What the kernel kept of the round before would answer in the place of the cache.
                expected.files.keys().for_each(|name| drop_pages(&File::open(root.join(name)).unwrap()));
                let found = TreeSum::of(&root, 4).unwrap();
                assert_eq!(expected.differences(&found), [""; 0], "round {round}");
                came = site.proxy.bytes();
            }
            came
        };
        (watch.join().unwrap(), again)
    });
    // No slack: all that lies in the tier's files is charged, what is on its way and the cache's own notes too.
    assert!(most <= capacity, "the tier took {most} bytes of {capacity}");
    // What is not in the cache has to come again. A tenth of it is left for pages that the kernel did not give up.
    let absent = expected.bytes() - capacity;
    assert!(again > absent / 10 * 9, "{again} bytes came in the second round, {absent} at least were not cached");
    let (_, page) = get(&agent, "/metrics");
    assert!(sample(&page, "forebay_cache_evicted_blocks_total") > 0.0, "there was pressure");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

/// What the tier's files take. They are looked at one after the other, and the sum would be of no instant if some came after others had
/// been counted that went: the agent stands still meanwhile.
fn usage_at_one_instant(agent: &mut Process, tier: &Path) -> u64 {
    let tasks = PathBuf::from(format!("/proc/{}/task", agent.pid()));
    agent.signal(Signal::STOP).unwrap();
    let standing = Standing(agent);
    wait_until("every thread of the agent to stand still", SOON, || {
        let still = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state stands behind the name, which is in parentheses.
            stat.rsplit(')').next().is_some_and(|behind| behind.trim_start().starts_with('T'))
        };
        Ok(fs::read_dir(&tasks)?.flatten().all(still).then_some(()))
    })
    .unwrap();
    let usage = disk_usage(tier);
    drop(standing);
    usage
}

/// An agent that stands still; it goes on whatever happens, for readers wait for it.
struct Standing<'a>(&'a mut Process);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::CONT);
    }
}

#[test]
fn with_sixteen_readers_at_random_offsets() {
    let site = Site::new().with_tree();
    let mut agent = site.start(&site.manifest("random", "4Gi"));
    sixteen_readers(&site, &agent.root(), 150);
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn with_sixteen_readers_at_random_offsets_and_a_cache_that_is_too_small() {
    let site = Site::new().with_tree();
    let mut agent = site.start(&site.manifest("random", "16Mi"));
    let tree = TreeSum::of(&site.source, 4).unwrap().bytes();
    assert!(tree > 64 << 20, "{tree} bytes are not much more than the cache takes");
    site.proxy.reset_counts();
    sixteen_readers(&site, &agent.root(), 40);
    let came = site.proxy.bytes();
    assert!(came > tree, "{came} bytes came, {tree} are there: nothing was asked for again");
    let (_, page) = get(&agent, "/metrics");
    assert!(sample(&page, "forebay_cache_evicted_blocks_total") > 0.0, "there was pressure");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

/// Each of the readers reads so often, past the kernel's pages: half of the time from any file, half of the time at any place of the
/// whole tree, since most files are small and most bytes are in large ones.
fn sixteen_readers(site: &Site, root: &Path, reads: usize) {
    let source = &site.source;
    let tree = TreeSum::of(source, 4).unwrap();
    let files: Vec<_> = tree.files.iter().filter(|(_, sum)| sum.size > 0).map(|(name, sum)| (name, sum.size as usize)).collect();
    let mut total = 0;
    let mut ends = Vec::new();
    for (_, size) in &files {
        total += *size;
        ends.push(total);
    }
    thread::scope(|scope| {
        for reader in 0..16 {
            let (files, ends) = (&files, &ends);
            scope.spawn(move || {
                let mut dice = Dice::new(reader + 100);
                for _ in 0..reads {
                    let n = match dice.below(2) {
                        0 => dice.below(files.len()),
                        _ => {
                            let place = dice.below(total);
                            ends.partition_point(|end| *end <= place)
                        }
                    };
                    let (name, size) = files[n];
                    let offset = dice.below(size);
                    let length = (1 + dice.below(300_000)).min(size - offset);
                    let found = read_afresh(&root.join(name), offset as u64, length).unwrap();
                    let right = read_at(&source.join(name), offset as u64, length).unwrap();
                    assert!(found == right, "{name} at {offset}, {length} bytes");
                }
            });
        }
    });
}

#[test]
fn a_block_is_fetched_once_however_many_wait_for_it() {
    let site = Site::new().with_files(&[("shared", 6 << 20)]);
    site.proxy.add(Rule::gets(Fault::Delay(Duration::from_millis(200))));
    let agent = site.start(&site.manifest("once", "1Gi"));
    let (path, source) = (agent.root().join("shared"), site.bytes("shared"));
    thread::scope(|scope| {
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
