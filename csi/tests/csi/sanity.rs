//! The interface's own test suite.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Node, end, spawn, wait_until};

/// What this driver does not do, in the suite's words: a Dataset is not made, grown, copied or written through a volume.
const NOT_CLAIMED: [&str; 21] = [
    "Controller Publish, UnpublishVolume not supported",
    "ControllerExpandVolume not supported",
    "ControllerGetVolumeHealth not supported",
    "ControllerListVolumeHealth not supported",
    "ControllerModifyVolume not supported",
    "ControllerPublishVolume not supported",
    "ControllerUnpublishVolume not supported",
    "CreateSnapshot not supported",
    "DeleteSnapshot not supported",
    "GetCapacity not supported",
    "GetSnapshot not supported",
    "GroupControllerService not supported",
    "ListSnapshots not supported",
    "ListVolumes not supported",
    "Modify Volume not supported",
    "Modify volume not supported",
    "NodeExpandVolume not supported",
    "NodeGetStorageHealth not supported",
    "Snapshot not supported",
    "Volume Cloning not supported",
    "Service does not have single node multi writer capability",
];

/// `csi-sanity`, where `cargo xtask parts` puts it.
fn csi_sanity() -> PathBuf {
    let parts = std::env::var_os("FOREBAY_PARTS").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        cache.unwrap_or_else(home).join("forebay/parts/bin")
    });
    let program = parts.join("csi-sanity");
    assert!(program.exists(), "{} is missing: run `cargo xtask parts`", program.display());
    program
}

#[test]
fn csi_sanity_finds_nothing() {
    let node = Node::with_agent();
    let mut controller = Command::new(env!("CARGO_BIN_EXE_forebay-csi"));
    controller.arg("controller").arg("--endpoint").arg(node.path("controller.sock"));
    let mut controller = spawn(controller);
    wait_until("the controller listens", || std::os::unix::net::UnixStream::connect(node.path("controller.sock")).is_ok());
    std::fs::write(node.path("parameters.yaml"), "dataset: ml/imagenet\n").unwrap();
    let mut sanity = Command::new(csi_sanity());
    sanity.arg("--ginkgo.no-color").arg("--ginkgo.v").current_dir(node.path(""));
    for (flag, place) in [
        ("csi.endpoint", "csi.sock"),
        ("csi.controllerendpoint", "controller.sock"),
        ("csi.mountdir", "sanity-target"),
        ("csi.stagingdir", "sanity-staging"),
        ("csi.testvolumeparameters", "parameters.yaml"),
    ] {
        sanity.arg(format!("--{flag}={}", node.path(place).display()));
    }
    let output = sanity.output().unwrap();
    end(&mut controller);
    let text = String::from_utf8_lossy(&output.stdout);
    let summary: Vec<_> = text.lines().filter(|line| line.contains("Passed") || line.contains("[FAIL]")).collect();
    assert!(output.status.success(), "{summary:#?}\n{text}");
    assert_eq!(node.mounts(), [], "a mount stays behind");
    // What is skipped is what this driver does not claim, and each reason is known.
    let reasons: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("[SKIPPED] "))
        .filter(|reason| !reason.starts_with("in [") && !reason.starts_with('['))
        .collect();
    assert_eq!(reasons, BTreeSet::from(NOT_CLAIMED));
    eprintln!("{summary:?}");
}
