//! The next start goes on where the last one ended.

use std::os::unix::fs::MetadataExt;

use forebay_e2e::{RequestKind, TreeSum};

use crate::support::{SOON, Site, is_cached};

#[test]
fn a_second_start_lists_nothing_and_fetches_nothing() {
    for sudden in [false, true] {
        let mut site = Site::new().with_tree();
        let manifest = site.manifest("again", "4Gi").with("prefetch: {policy: Eager}");
        let mut agent = site.start(&manifest);
        agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
        let inode = std::fs::metadata(agent.root().join("crates")).unwrap().ino();
        assert!(site.proxy.count(RequestKind::List) > 0);
        if sudden {
            agent.kill().unwrap();
        } else {
            assert!(agent.stop().unwrap(), "{}", agent.process.tail());
        }

        site.proxy.reset_counts();
        site.proxy.down();
        let mut agent = site.start(&manifest);
        let expected = TreeSum::of(&site.source, 4).unwrap();
        assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 4).unwrap()), [""; 0], "sudden: {sudden}");
        agent.wait_status("the prefetch to be known as done", SOON, is_cached).unwrap();
        assert_eq!(site.proxy.seen(), [], "sudden: {sudden}");
        assert_eq!(std::fs::metadata(agent.root().join("crates")).unwrap().ino(), inode, "inode numbers are stable");
        assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    }
}

#[test]
fn a_changed_manifest_is_listed_anew() {
    let site = Site::new().with_files(&[("a/x", 10), ("b/y", 10)]);
    let mut manifest = site.manifest("moves", "1Gi");
    manifest.mounts[0].source = "s3://data/a".into();
    let mut agent = site.start(&manifest);
    assert!(agent.root().join("x").exists());
    assert!(agent.stop().unwrap());
    manifest.mounts[0].source = "s3://data/b".into();
    let agent = site.start(&manifest);
    assert!(agent.root().join("y").exists());
    assert!(!agent.root().join("x").exists());
}
