//! Complete files are read by the kernel itself, whoever lives or dies, and never with a hole in them.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use forebay_e2e::{Agent, AgentFiles, wait_until};
use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::Signal;

use crate::metrics::{get, sample};
use crate::support::{BUCKET, SOON, Site, is_cached, noise, read};

const SIZE: usize = (4 << 20) - 77;

fn site() -> Site {
    let files: Vec<(String, usize)> = (0..10).map(|n| (format!("f{n}"), SIZE)).collect();
    Site::new().with_files(&files.iter().map(|(n, s)| (n.as_str(), *s)).collect::<Vec<_>>())
}

/// Opens so far: native ones, and those through the agent.
pub(crate) fn opens(agent: &Agent) -> (f64, f64) {
    let (_, page) = get(agent, "/metrics");
    let way = |way: &str| {
        sample(
            &page,
            &format!("forebay_dataset_opens_total{{namespace=\"default\",dataset=\"{}\",way=\"{way}\"}}", agent.dataset),
        )
    };
    (way("native"), way("served"))
}

/// A file mapped whole, for reading; unmapped at the end.
pub(crate) struct Mapped {
    at: *mut std::ffi::c_void,
    length: usize,
}

impl Mapped {
    pub(crate) fn of(file: impl AsFd, length: usize) -> Self {
        // SAFETY: a new mapping at a place that the kernel chooses overlaps nothing.
        let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0).unwrap() };
        Self { at, length }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading as long as this lives; the file behind it is one that nobody writes to.
        unsafe { std::slice::from_raw_parts(self.at.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and borrowed by nobody any more.
        unsafe { rustix::mm::munmap(self.at, self.length).unwrap() };
    }
}

fn content(file: &File) -> Vec<u8> {
    let mut found = vec![0; SIZE];
    file.read_exact_at(&mut found, 0).unwrap();
    found
}

/// Opens a file that is complete, so that the kernel reads it by itself.
pub(crate) fn open_natively(agent: &Agent, name: &str) -> File {
    let path = agent.root().join(name);
    wait_until("a native open", SOON, || {
        read(&path).map_err(std::io::Error::from_raw_os_error)?;
        let before = opens(agent).0;
        let file = File::open(&path)?;
        // Dropped when it is not: as long as one handle is served, all are. The one that was open while the file was fetched may
        // not have been released yet.
        Ok((opens(agent).0 > before).then_some(file))
    })
    .unwrap()
}

#[test]
fn a_complete_file_is_read_while_the_agent_stands_still() {
    let site = site();
    let mut agent = site.start(&site.manifest("still", "1Gi").with("prefetch: {policy: Eager}"));
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    let file = open_natively(&agent, "f1");
    agent.process.signal(Signal::STOP).unwrap();
    let found = content(&file);
    let mapped = Mapped::of(&file, SIZE);
    let right = found == site.bytes("f1") && mapped.bytes() == found;
    agent.process.signal(Signal::CONT).unwrap();
    assert!(right);
    drop(file);
    let (native, served) = opens(&agent);
    for n in 0..10 {
        assert!(read(&agent.root().join(format!("f{n}"))).unwrap() == site.bytes(&format!("f{n}")));
    }
    assert_eq!(opens(&agent), (native + 10.0, served));
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn an_agent_that_follows_a_killed_one_punches_no_hole_under_its_readers() {
    let site = site();
    let manifest = site.manifest("killed", "64Mi").with("prefetch: {policy: OnDemand}");
    let mut agent = site.start(&manifest);
    let (open, closed) = (open_natively(&agent, "f0"), open_natively(&agent, "f1"));
    let mapped = Mapped::of(&closed, SIZE);
    drop(closed);
    for n in 2..10 {
        assert!(read(&agent.root().join(format!("f{n}"))).unwrap() == site.bytes(&format!("f{n}")));
    }
    agent.kill().unwrap();
    assert!(content(&open) == site.bytes("f0"), "the kernel goes on by itself");

    // Less than is cached: whatever may go goes.
    let mut agent = site.start(&site.manifest("killed", "16Mi").with("prefetch: {policy: OnDemand}"));
    for _ in 0..3 {
        for n in 2..10 {
            assert!(read(&agent.root().join(format!("f{n}"))).unwrap() == site.bytes(&format!("f{n}")));
        }
        assert!(content(&open) == site.bytes("f0"));
        assert!(mapped.bytes() == site.bytes("f1"));
    }
    let (_, page) = get(&agent, "/metrics");
    assert!(sample(&page, "forebay_cache_evicted_blocks_total") > 0.0, "there was pressure");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn readers_of_every_kind_see_right_bytes_while_files_come_and_go() {
    let site = site();
    let mut agent = site.start(&site.manifest("pressed", "64Mi").with("prefetch: {policy: OnDemand}").with("quota: 9Mi"));
    let (root, stop, reads) = (agent.root(), AtomicBool::new(false), AtomicUsize::new(0));
    let all: Vec<Vec<u8>> = (0..10).map(|n| site.bytes(&format!("f{n}"))).collect();
    thread::scope(|scope| {
        for reader in 0..4 {
            let (root, stop, reads, all) = (&root, &stop, &reads, &all);
            scope.spawn(move || {
                let mut random = 0x9e37_79b9_7f4a_7c15 ^ reader;
                while !stop.load(Ordering::Relaxed) {
                    random = read_at_random(root, all, random);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let enough = wait_until("enough reads of both kinds under pressure", SOON * 2, || {
            let (_, page) = get(&agent, "/metrics");
            let evicted = sample(&page, "forebay_cache_evicted_blocks_total");
            let (native, served) = opens(&agent);
            Ok((native > 50.0 && served > 50.0 && evicted > 20.0 && reads.load(Ordering::Relaxed) > 500).then_some(()))
        });
        stop.store(true, Ordering::Relaxed);
        enough.unwrap();
    });
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

/// One open and some reads of it: buffered, direct, mapped, or mapped and closed.
fn read_at_random(root: &Path, all: &[Vec<u8>], mut random: u64) -> u64 {
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    // Some files are read often, so that they are complete now and then.
    let (n, how) = (next(3).min(next(10)), next(4));
    let n = if next(3) == 0 { next(10) } else { n };
    let flags = if how == 1 { OFlags::DIRECT.bits() as i32 } else { 0 };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(root.join(format!("f{n}"))).unwrap();
    if how >= 2 {
        let mapped = Mapped::of(&file, SIZE);
        let file = (how == 2).then_some(file);
        // One that is closed is mapped for a while, so that others come and go meanwhile.
        let looks = if how == 2 { 4 } else { 40 };
        for _ in 0..looks {
            if how == 3 {
                thread::sleep(Duration::from_millis(10));
            }
            let at = next(SIZE - 50_000);
            assert!(mapped.bytes()[at..at + 50_000] == all[n][at..at + 50_000], "f{n} mapped at {at}");
        }
        drop(file);
        return random;
    }
    let mut found = vec![0; 50_000];
    for _ in 0..4 {
        let at = next(SIZE - found.len());
        file.read_exact_at(&mut found, at as u64).unwrap();
        assert!(found == all[n][at..at + found.len()], "f{n} at {at}");
    }
    random
}

#[test]
fn an_open_file_keeps_its_version_and_the_next_open_has_the_new_one() {
    let site = site();
    let manifest = site.manifest("changing", "1Gi").with("consistency: {policy: MaxAge, maxAge: 2s}");
    let mut agent = site.start(&manifest.with("prefetch: {policy: Eager}"));
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    let old = open_natively(&agent, "f3");
    let mapped = Mapped::of(&old, SIZE);
    let new = noise(99, SIZE);
    site.client.put(BUCKET, "f3", &new).unwrap();
    let path = agent.root().join("f3");
    wait_until("the new version to show", SOON, || Ok((read(&path).ok().as_ref() == Some(&new)).then_some(()))).unwrap();
    assert!(content(&old) == site.bytes("f3") && mapped.bytes() == site.bytes("f3"));
    assert!(content(&open_natively(&agent, "f3")) == new);
    drop(old);
    assert!(mapped.bytes() == site.bytes("f3"));
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn switched_off_all_is_served_and_the_status_says_so() {
    let site = site();
    let files = AgentFiles { arguments: vec!["--no-passthrough".into()], ..site.files() };
    let mut agent = Agent::start(&files, &site.manifest("served", "1Gi").with("prefetch: {policy: Eager}")).unwrap();
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    for _ in 0..2 {
        assert!(read(&agent.root().join("f0")).unwrap() == site.bytes("f0"));
    }
    assert_eq!(opens(&agent), (0.0, 2.0));
    let (_, page) = get(&agent, "/metrics");
    assert_eq!(sample(&page, "forebay_dataset_native{"), 0.0);
    assert!(agent.words().unwrap().contains("through the agent: it is switched off"), "{}", agent.words().unwrap());
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
