//! The program ends cleanly when asked to, and cleans up after its own sudden death.

use std::fs;

use forebay_e2e::{mounts_below, wait_until};
use rustix::process::Signal;

use crate::support::{SOON, Site, read};

#[test]
fn sigterm_and_sigint_unmount() {
    for signal in [Signal::TERM, Signal::INT] {
        let site = Site::new().with_files(&[("file", 1 << 20)]);
        let mut agent = site.start(&site.manifest("ends", "1Gi"));
        assert!(read(&agent.root().join("file")).unwrap() == site.bytes("file"));
        agent.process.signal(signal).unwrap();
        let status = agent.process.wait(SOON).unwrap();
        assert!(status.success(), "{signal:?}: {status}\n{}", agent.process.tail());
        assert_eq!(mounts_below(&agent.files.at).unwrap(), [""; 0].map(Into::into) as [std::path::PathBuf; 0], "{signal:?}");
    }
}

#[test]
fn sigterm_ends_it_though_a_file_is_open_and_a_store_hangs() {
    let site = Site::new().with_files(&[("open", 1 << 20), ("hangs", 1 << 20)]);
    let mut agent = site.start(&site.manifest("busy", "1Gi"));
    let held = fs::File::open(agent.root().join("open")).unwrap();
    site.proxy.add(forebay_e2e::Rule::gets(forebay_e2e::Fault::Hang).of("hangs"));
    let path = agent.root().join("hangs");
    let reader = std::thread::spawn(move || read(&path));
    wait_until("the read to reach the store", SOON, || Ok((site.proxy.seen().len() > 1).then_some(()))).ok();
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    assert!(reader.join().unwrap().is_err(), "the read that hung has ended");
    assert!(mounts_below(&agent.files.at).unwrap().is_empty());
    drop(held);
}

#[test]
fn the_next_start_cleans_up_a_dead_mount() {
    let site = Site::new().with_files(&[("file", 1 << 20)]);
    let manifest = site.manifest("dies", "1Gi");
    let mut agent = site.start(&manifest);
    let root = agent.root();
    agent.kill().unwrap();
    assert_eq!(read(&root.join("file")).unwrap_err(), 107, "the mount is dead (ENOTCONN), or has names alone");

    // The dead agent's handle is kept: dropping it would clean up what the next start is to clean up.
    let mut next = site.start(&manifest);
    assert!(read(&root.join("file")).unwrap() == site.bytes("file"));
    assert_eq!(mounts_below(&root).unwrap().len(), 1, "one mount, not one over a dead one");
    assert!(next.stop().unwrap(), "{}", next.process.tail());
    assert!(mounts_below(&root).unwrap().is_empty());
}

#[test]
fn a_directory_that_is_not_empty_or_a_second_agent_is_refused() {
    let site = Site::new().with_files(&[("file", 10)]);
    let manifest = site.manifest("twice", "1Gi");
    let agent = site.start(&manifest);
    let mut second =
        forebay_e2e::Process::spawn("second", site.files().mount_command(), &site.dir.path().join("second.log")).unwrap();
    let status = second.wait(SOON).unwrap();
    assert!(!status.success());
    assert!(second.output().contains("state"), "it says what is in use: {}", second.output());
    assert!(read(&agent.root().join("file")).unwrap() == site.bytes("file"), "the first serves on");
}
