//! The cache keeps to its bounds, keeps what is pinned, and tells the truth.

use forebay_e2e::{Manifest, RequestKind, TreeSum, wait_until};

use crate::support::{SOON, Site, disk_usage, is_cached, read};

const MIB: u64 = 1 << 20;

fn ten_files() -> Vec<(String, usize)> {
    (0..10).map(|n| (format!("f{n}"), 4 << 20)).collect()
}

fn site() -> Site {
    let files = ten_files();
    Site::new().with_files(&files.iter().map(|(n, s)| (n.as_str(), *s)).collect::<Vec<_>>())
}

#[test]
fn pinned_files_survive_a_scan_of_everything() {
    let site = site();
    let mut manifest = site.manifest("pins", "20Mi").with("pin: {paths: [/f0, /f1]}");
    manifest = manifest.with("prefetch: {policy: OnDemand}");
    let mut agent = site.start(&manifest);
    agent.wait_status("the pins", SOON, |s| s["cache"]["pinnedBytes"] == 8 * MIB).unwrap();
    let expected = TreeSum::of(&site.source, 2).unwrap();
    for _ in 0..2 {
        assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
    }
    site.proxy.reset_counts();
    for name in ["f0", "f1"] {
        assert!(read(&agent.root().join(name)).unwrap() == site.bytes(name));
    }
    assert_eq!(site.proxy.count(RequestKind::Get), 0, "pinned: nothing was fetched again");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn a_quota_bounds_one_dataset() {
    let site = site();
    let agent = site.start(&site.manifest("bounded", "1Gi").with("quota: 12Mi"));
    let expected = TreeSum::of(&site.source, 2).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
    let bytes = agent.status().unwrap()["cache"]["bytes"].as_u64().unwrap();
    assert!(bytes <= 12 * MIB, "{bytes}");
    assert!(bytes > 0, "something is cached");
    assert!(disk_usage(&agent.files.tier) <= 14 * MIB);
}

#[test]
fn more_than_fits_is_said_and_served_all_the_same() {
    let site = site();
    let agent = site.start(&site.manifest("large", "16Mi").with("prefetch: {policy: Eager}"));
    let status = agent.wait_status("the shortage to be told", SOON, |s| s.to_string().contains("OutOfSpace")).unwrap();
    assert_eq!(status["phase"], "Degraded", "{status:#}");
    let expected = TreeSum::of(&site.source, 2).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
}

#[test]
fn a_memory_tier_and_a_disk_tier_hold_more_than_either() {
    let mut site = site();
    let mut manifest = site.manifest("tiers", "40Mi").with("prefetch: {policy: Eager}");
    manifest.tiers.insert(0, "{name: ram, medium: Memory, capacity: 16Mi}".into());
    let mut agent = site.start(&manifest);
    let status = agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    assert_eq!(status["cache"]["bytes"], 40 * MIB, "{status:#}");
    let tiers = status["cache"]["tiers"].as_array().unwrap().clone();
    let sum: u64 = tiers.iter().map(|t| t["bytes"].as_u64().unwrap()).sum();
    assert_eq!((tiers.len(), sum), (2, 40 * MIB), "{status:#}");
    let expected = TreeSum::of(&site.source, 2).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
    agent.kill().unwrap();

    // Memory outlives a sudden death: the next agent has everything without the store. A clean end gives it back.
    site.proxy.down();
    let mut agent = site.start(&manifest);
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
    agent.wait_status("everything to be known as cached", SOON, is_cached).unwrap();
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    let left = forebay_e2e::mounts_below(site.dir.path()).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn damaged_and_deleted_cache_files_heal() {
    let site = site();
    let manifest = site.manifest("heals", "1Gi").with("prefetch: {policy: Eager}");
    let mut agent = site.start(&manifest);
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());

    // The cached objects are the files of 4 MiB; one loses a byte's truth, one is gone, one is cut short.
    let mut objects = Vec::new();
    collect(&agent.files.tier, &mut objects);
    objects.sort();
    assert!(objects.len() >= 10, "{objects:?}");
    flip(&objects[0], MIB + 5);
    std::fs::remove_file(&objects[1]).unwrap();
    std::fs::File::options().write(true).open(&objects[2]).unwrap().set_len(MIB).unwrap();

    let agent = site.start(&manifest);
    let expected = TreeSum::of(&site.source, 2).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 2).unwrap()), [""; 0]);
    agent.wait_status("everything to be cached again", SOON, is_cached).unwrap();
}

#[test]
fn a_dataset_that_left_the_manifest_gives_its_space_back() {
    let site = site();
    let mut agent = site.start(&site.manifest("leaves", "1Gi").with("prefetch: {policy: Eager}"));
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    let tier = agent.files.tier.clone();
    assert!(disk_usage(&tier) >= 40 * MIB);

    site.client.put("data", "elsewhere/one", b"one").unwrap();
    let mut mount = site.mount();
    mount.source = "s3://data/elsewhere".into();
    let agent = site.start(&Manifest::new("stays", vec![mount], &tier, "1Gi"));
    assert_eq!(read(&agent.root().join("one")).unwrap(), b"one");
    wait_until("the space to be given back", SOON, || Ok((disk_usage(&tier) < 8 * MIB).then_some(()))).unwrap();
}

fn collect(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            collect(&entry.path(), found);
        } else if meta.len() >= 4 * MIB {
            found.push(entry.path());
        }
    }
}

fn flip(path: &std::path::Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}
