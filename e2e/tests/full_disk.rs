//! A disk that others fill: reads go on with the right bytes, what is wrong is told by the tier's name, and the cache is used again
//! once there is room. As root.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use forebay_e2e::{Agent, Fault, Manifest, RequestKind, Rule, wait_until};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::metrics::{get, sample};
use crate::support::{SOON, Site, read, read_afresh};

const ENOSPC: i32 = 28;
const SIZE: usize = 2 << 20;
const NAMES: [&str; 8] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"];

/// A small file system for the tier and for others, unmounted at the end whatever happens. What uses it is declared after it, and so
/// ends before.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn new(site: &Site) -> Self {
        assert!(rustix::process::geteuid().is_root(), "a file system of its own needs root");
        let at = site.dir.path().join("disk");
        fs::create_dir(&at).unwrap();
        let options = Some(c"size=40m,nr_inodes=2000,mode=0755");
        mount("forebay-e2e", &at, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, options).unwrap();
        let disk = Self { at };
        fs::create_dir(disk.others()).unwrap();
        disk
    }

    /// Where others write, beside the tier.
    fn others(&self) -> PathBuf {
        self.at.join("others")
    }

    /// Starts an agent whose only tier lies here.
    fn start(&self, site: &Site, name: &str) -> Agent {
        site.start(&Manifest::new(name, vec![site.mount()], &self.at.join("tier"), "32Mi").with("prefetch: {policy: OnDemand}"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing can be reported from here, and another error is on its way if there is one.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

fn site() -> Site {
    Site::new().with_files(&NAMES.map(|name| (name, SIZE)))
}

/// Writes until nothing is free.
fn take_all(others: &mut File) {
    let chunk = vec![7u8; 256 << 10];
    loop {
        match others.write(&chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return assert_eq!(error.raw_os_error(), Some(ENOSPC), "{error}"),
        }
    }
}

fn expect_bytes(site: &Site, agent: &Agent, names: &[&str]) {
    for name in names {
        assert!(read_afresh(&agent.root().join(name), 0, SIZE + 1).unwrap() == site.bytes(name), "{name}");
    }
}

/// The value of a metric of the tier.
fn of_tier(agent: &Agent, metric: &str, state: &str) -> f64 {
    let (_, page) = get(agent, "/metrics");
    sample(&page, &format!("{metric}{{tier=\"ssd\",medium=\"disk\"{state}}}"))
}

/// There is room again: everything is cached once it was read, and is read without the store then.
fn expect_use(site: &Site, agent: &Agent) {
    wait_until("the cache to take everything", SOON, || {
        expect_bytes(site, agent, &NAMES);
        Ok((agent.status()?["cache"]["percent"] == 100).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {:#}\n{}", agent.status().unwrap(), get(agent, "/metrics").1));
    site.proxy.reset_counts();
    expect_bytes(site, agent, &NAMES);
    assert_eq!(site.proxy.count(RequestKind::Get), 0, "{:?}", site.proxy.seen());
    assert_eq!(of_tier(agent, "forebay_tier_state", ",state=\"ready\""), 1.0);
}

#[test]
fn bytes_that_run_out_in_the_middle_of_a_fetch() {
    let site = site();
    let disk = Disk::new(&site);
    let mut agent = disk.start(&site, "crowded");
    expect_bytes(&site, &agent, &NAMES[..2]);
    agent.wait_status("two files to be cached", SOON, |s| s["cache"]["bytes"] == 2 * SIZE).unwrap();

    let stall = site.proxy.add(Rule::gets(Fault::Stall(300_000)).of("f2"));
    let path = agent.root().join("f2");
    let reader = std::thread::spawn(move || read(&path));
    wait_until("the fetch to be under way", SOON, || {
        Ok(site.proxy.seen().iter().any(|seen| seen.kind == RequestKind::Get && seen.target.contains("f2")).then_some(()))
    })
    .unwrap();
    let mut others = File::create(disk.others().join("bytes")).unwrap();
    take_all(&mut others);
    site.proxy.remove(stall);
    assert!(reader.join().unwrap().unwrap() == site.bytes("f2"));

    // What the cache gives up for what comes in is taken from it each time, until it has nothing more to give.
    for name in NAMES[3..].chunks(1) {
        take_all(&mut others);
        expect_bytes(&site, &agent, name);
    }
    let (_, page) = get(&agent, "/metrics");
    let refused = |reason| sample(&page, &format!("forebay_cache_refused_blocks_total{{reason=\"{reason}\"}}"));
    assert!(refused("reserve") + refused("faulted") > 0.0, "{page}");
    assert!(of_tier(&agent, "forebay_tier_filesystem_free_bytes", "") < (2 * SIZE) as f64);

    others.set_len(0).unwrap();
    expect_use(&site, &agent);
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn inodes_that_run_out_are_a_fault_of_the_tier_until_there_are_some_again() {
    let site = site();
    let disk = Disk::new(&site);
    let mut agent = disk.start(&site, "crowded");
    assert_eq!(of_tier(&agent, "forebay_tier_errors_total", ""), 0.0);
    let taken = (0..).map(|n| File::create(disk.others().join(format!("{n}"))));
    let full = taken.take(10_000).find_map(Result::err).expect("the file system is never full");
    assert_eq!(full.raw_os_error(), Some(ENOSPC), "{full}");

    expect_bytes(&site, &agent, &NAMES);
    wait_until("the fault to be told", SOON, || {
        Ok((of_tier(&agent, "forebay_tier_state", ",state=\"faulted\"") == 1.0).then_some(()))
    })
    .unwrap();
    assert!(of_tier(&agent, "forebay_tier_errors_total", "") >= 1.0);
    let output = agent.process.output();
    let told = output.lines().find(|line| line.contains("the cache's disk failed"));
    let told = told.unwrap_or_else(|| panic!("no word of the disk in\n{output}"));
    assert!(told.contains("tier=ssd") && told.contains("No space left"), "{told}");
    assert_eq!(agent.status().unwrap()["cache"]["bytes"], 0);

    fs::remove_dir_all(disk.others()).unwrap();
    expect_use(&site, &agent);
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
