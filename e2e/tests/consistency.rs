//! What readers see when the store changes, by policy.

use forebay_e2e::{RequestKind, wait_until};

use crate::support::{BUCKET, SOON, Site, noise, read};

const SIZE: usize = 200_000;

#[test]
fn snapshot_stays_as_it_was_listed() {
    let site = Site::new().with_files(&[("cached", SIZE), ("uncached", SIZE)]);
    let agent = site.start(&site.manifest("pinned", "1Gi").with("consistency: {policy: Snapshot}"));
    let (cached, uncached) = (agent.root().join("cached"), agent.root().join("uncached"));
    assert!(read(&cached).unwrap() == site.bytes("cached"));
    for name in ["cached", "uncached", "new"] {
        site.client.put(BUCKET, name, &noise(9, SIZE)).unwrap();
    }
    assert!(read(&cached).unwrap() == site.bytes("cached"), "what is cached stays readable as it was");
    assert_eq!(read(&uncached).unwrap_err(), 116, "what is gone from the store is stale, not new");
    assert_eq!(read(&agent.root().join("new")).unwrap_err(), 2, "what was added is not there");
}

#[test]
fn max_age_shows_changes_when_the_listing_is_old() {
    let site = Site::new().with_files(&[("file", SIZE), ("goes", SIZE)]);
    let agent = site.start(&site.manifest("aging", "1Gi").with("consistency: {policy: MaxAge, maxAge: 2s}"));
    assert!(read(&agent.root().join("file")).unwrap() == site.bytes("file"));
    let new = noise(9, SIZE + 1);
    site.client.put(BUCKET, "file", &new).unwrap();
    site.client.put(BUCKET, "dir/comes", b"came").unwrap();
    site.client.delete(BUCKET, "goes").unwrap();
    wait_until("the change to show", SOON, || Ok((read(&agent.root().join("file")).ok().as_ref() == Some(&new)).then_some(())))
        .unwrap();
    wait_until("the new file to show", SOON, || {
        Ok((read(&agent.root().join("dir/comes")).ok().as_deref() == Some(b"came")).then_some(()))
    })
    .unwrap();
    wait_until("the old file to go", SOON, || Ok((read(&agent.root().join("goes")) == Err(2)).then_some(()))).unwrap();
    assert!(agent.status().unwrap()["catalog"]["generation"].as_u64() > Some(1));
}

#[test]
fn validate_shows_a_change_at_the_next_open() {
    let site = Site::new().with_files(&[("file", SIZE)]);
    let agent = site.start(&site.manifest("checked", "1Gi").with("consistency: {policy: Validate}"));
    let path = agent.root().join("file");
    assert!(read(&path).unwrap() == site.bytes("file"));
    let gets = site.proxy.count(RequestKind::Get);
    assert!(read(&path).unwrap() == site.bytes("file"));
    assert_eq!(site.proxy.count(RequestKind::Get), gets, "unchanged: asked for, not fetched again");
    for (round, size) in [(10, SIZE), (11, SIZE + 5), (12, 7)] {
        let new = noise(round, size);
        site.client.put(BUCKET, "file", &new).unwrap();
        assert!(read(&path).unwrap() == new, "round {round}");
    }
}
