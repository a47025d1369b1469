//! A store in trouble: a clear error in time, never a wrong byte, and all is well again when the trouble ends.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use forebay_e2e::{Agent, Fault, RequestKind, Rule, wait_until};
use serde_json::Value;

use crate::support::{BUCKET, SOON, Site, noise, read};

const EIO: i32 = 5;
const EACCES: i32 = 13;
const ETIMEDOUT: i32 = 110;
const ESTALE: i32 = 116;

/// No read may take longer than this: three attempts of a second each, pauses between them, and a busy machine.
const NO_HANG: Duration = Duration::from_secs(40);

/// The victim of every fault here.
const VICTIM: &str = "dir/victim";
const SIZE: usize = 3 << 20;

fn site() -> Site {
    Site::new().with_files(&[(VICTIM, SIZE), ("other", 100_000)])
}

/// Reads the victim and expects one of `errnos` in time; the status must name Dataset, mount and object.
fn expect_error(site: &Site, agent: &Agent, errnos: &[i32], what: &str) {
    let start = Instant::now();
    let outcome = read(&agent.root().join(VICTIM));
    assert!(start.elapsed() < NO_HANG, "{what}: the read took {:?}", start.elapsed());
    match outcome {
        Ok(bytes) => panic!("{what}: the read gave {} bytes, equal: {}", bytes.len(), bytes == site.bytes(VICTIM)),
        Err(errno) => assert!(errnos.contains(&errno), "{what}: errno {errno}, not of {errnos:?}"),
    }
    agent.wait_status(&format!("{what}: a status that names Dataset, mount and object"), SOON, names_the_victim).unwrap();
}

fn names_the_victim(status: &Value) -> bool {
    let message = message(status, "StoresReachable");
    ["default/faults", "mount /", VICTIM].iter().all(|word| message.contains(word))
}

/// What the status says of one condition.
fn message<'a>(status: &'a Value, kind: &str) -> &'a str {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap()["message"].as_str().unwrap()
}

/// A listing that failed has no object; its message must have the words all the same that tell what to look at.
fn expect_words_of_listing(status: &Value, words: &[&str]) {
    for kind in ["Ready", "StoresReachable"] {
        for word in ["default/faults", "mount /"].iter().chain(words) {
            assert!(message(status, kind).contains(word), "{word} is missing in {kind} of {status:#}");
        }
    }
}

/// The fault is over: the victim reads whole and equal, and the status says so too.
fn expect_recovery(site: &Site, agent: &Agent, what: &str) {
    let path = agent.root().join(VICTIM);
    wait_until(&format!("{what}: the victim to be readable again"), SOON, || {
        Ok(read(&path).is_ok_and(|bytes| bytes == site.bytes(VICTIM)).then_some(()))
    })
    .unwrap();
    assert!(read(&agent.root().join("other")).unwrap() == site.bytes("other"), "{what}: another file");
}

/// Each fault for ever, then gone.
fn while_it_lasts(faults: &[(&str, Fault, &[i32])]) {
    for (what, fault, errnos) in faults {
        let site = site();
        let agent = site.start(&site.impatient("faults"));
        let id = site.proxy.add(Rule::gets(fault.clone()).of("victim"));
        expect_error(&site, &agent, errnos, what);
        site.proxy.remove(id);
        expect_recovery(&site, &agent, what);
    }
}

#[test]
fn refused_by_the_store() {
    while_it_lasts(&[
        ("403", Fault::Answer(403, "AccessDenied"), &[EACCES]),
        ("404 after listing", Fault::Answer(404, "NoSuchKey"), &[ESTALE]),
        ("416", Fault::Answer(416, "InvalidRange"), &[ESTALE, EIO]),
    ]);
}

#[test]
fn storms_of_server_errors() {
    while_it_lasts(&[
        ("500", Fault::Answer(500, "InternalError"), &[EIO]),
        ("503", Fault::Answer(503, "SlowDown"), &[EIO, ETIMEDOUT]),
    ]);
}

#[test]
fn bodies_that_end_early_or_not_at_all() {
    while_it_lasts(&[
        ("truncated at once", Fault::Truncate(0), &[EIO]),
        ("truncated in the middle", Fault::Truncate(200_000), &[EIO]),
        ("stalled in the middle", Fault::Stall(100_000), &[ETIMEDOUT, EIO]),
        ("no answer at all", Fault::Hang, &[ETIMEDOUT, EIO]),
    ]);
}

#[test]
fn a_fault_that_passes_is_not_seen_by_readers() {
    for (what, fault) in [
        ("503", Fault::Answer(503, "SlowDown")),
        ("500", Fault::Answer(500, "InternalError")),
        ("truncated", Fault::Truncate(100_000)),
        ("stalled", Fault::Stall(100_000)),
    ] {
        let site = site();
        let agent = site.start(&site.patient("faults"));
        site.proxy.add(Rule::gets(fault).of("victim").times(1));
        assert!(read(&agent.root().join(VICTIM)).unwrap() == site.bytes(VICTIM), "{what}");
    }
}

#[test]
fn connection_refused() {
    let mut site = site();
    let agent = site.start(&site.impatient("faults"));
    site.proxy.down();
    expect_error(&site, &agent, &[EIO], "connection refused");
    site.proxy.up().unwrap();
    expect_recovery(&site, &agent, "connection refused");
}

#[test]
fn a_damaged_body_is_never_served() {
    let site = site();
    let agent = site.start(&site.patient("faults"));
    // One bit of the only answer that carries the whole object: its checksum shows it, and it is fetched again.
    site.proxy.add(Rule::gets(Fault::Flip(50_000)).of("other").times(1));
    assert!(read(&agent.root().join("other")).unwrap() == site.bytes("other"));
    let fetched = site.proxy.seen().iter().filter(|s| s.kind == RequestKind::Get && s.target.contains("other")).count();
    assert!(fetched >= 2, "fetched {fetched} times");
}

#[test]
fn a_reader_of_several_blocks_gets_none_that_is_not_verified() {
    let site = site();
    let agent = site.start(&site.patient("faults"));
    // A bit at the front flips. Only the end of the body, two blocks later, can show it.
    site.proxy.add(Rule::gets(Fault::Flip(9)).of("victim").times(1));
    let mut file = File::open(agent.root().join(VICTIM)).unwrap();
    let mut front = vec![0; 4096];
    file.read_exact(&mut front).unwrap();
    assert!(front == site.bytes(VICTIM)[..front.len()], "bytes that nobody had verified were served");
    // Neither the kernel's pages nor the cache hold any.
    assert!(read(&agent.root().join(VICTIM)).unwrap() == site.bytes(VICTIM));
}

#[test]
fn an_object_that_changes_in_mid_read_is_stale_and_never_mixed() {
    // More than one GET brings in.
    const LARGE: usize = 24 << 20;
    const FRONT: usize = 64 << 10;
    let site = Site::new().with_files(&[(VICTIM, LARGE)]);
    let agent = site.start(&site.manifest("faults", "1Gi"));
    let (path, old) = (agent.root().join(VICTIM), site.bytes(VICTIM));
    // The first range comes; those behind it wait until the object has changed.
    site.proxy.add(Rule::gets(Fault::Delay(Duration::ZERO)).of("victim").times(1));
    let later = site.proxy.add(Rule::gets(Fault::Hang).of("victim"));
    let mut file = File::open(&path).unwrap();
    // Else the kernel asks for what is behind at the same time, and that may come first.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
    let mut front = vec![0; FRONT];
    file.read_exact(&mut front).unwrap();
    assert!(front == old[..FRONT]);

    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        let outcome = file.read_to_end(&mut rest);
        (rest, outcome)
    });
    let asked = || site.proxy.seen().iter().filter(|s| s.kind == RequestKind::Get && s.target.contains("victim")).count();
    wait_until("a later range to be asked for", SOON, || Ok((asked() > 1).then_some(()))).unwrap();
    site.client.put(BUCKET, VICTIM, &noise(77, LARGE)).unwrap();
    assert!(!reader.is_finished(), "it reads what has not come");
    site.proxy.remove(later);
    let (rest, outcome) = reader.join().unwrap();
    assert!(old[FRONT..].starts_with(&rest), "bytes that are not the opened version's");
    let error = outcome.expect_err("the later ranges of the opened version cannot have come");
    assert_eq!(error.raw_os_error(), Some(ESTALE));
    assert_eq!(read(&path).err(), Some(ESTALE), "opened anew it is the version that was listed");
    agent.wait_status("a status that names Dataset, mount and object", SOON, names_the_victim).unwrap();
}

#[test]
fn wrong_credentials_say_so() {
    let site = site();
    let mut manifest = site.impatient("faults");
    manifest.mounts[0].keys = Some(("forebay-e2e".into(), "not-the-secret".into()));
    let agent = Agent::spawn(&site.files(), &manifest).unwrap();
    let status = agent.wait_status("the listing to fail", SOON, |s| s["phase"] == "Failed").unwrap();
    expect_words_of_listing(&status, &["access denied", "credentials", BUCKET]);
    let text = status.to_string();
    assert!(text.contains("AccessDenied"), "{status:#}");
    assert!(!text.contains("not-the-secret"));
    assert!(!agent.process.output().contains("not-the-secret"));
}

#[test]
fn a_missing_bucket_says_so_and_is_found_once_it_is_there() {
    let site = site();
    let mut manifest = site.impatient("faults");
    manifest.mounts[0].source = "s3://absent".into();
    let mut agent = Agent::spawn(&site.files(), &manifest).unwrap();
    let status = agent.wait_status("the listing to fail", SOON, |s| s["phase"] == "Failed").unwrap();
    expect_words_of_listing(&status, &["does not exist", "absent"]);
    site.client.make_bucket("absent").unwrap();
    site.client.put("absent", "late", b"late").unwrap();
    agent.wait_status("the listing to succeed", SOON * 2, |s| s["phase"] == "Ready").unwrap();
    agent.wait_mounted().unwrap();
    assert_eq!(read(&agent.root().join("late")).unwrap(), b"late");
}

#[test]
fn a_listing_survives_a_storm() {
    let site = Site::new().with_files(&[("a", 10), ("b/c", 10)]);
    site.proxy.add(Rule { kind: Some(RequestKind::List), ..Rule::all(Fault::Answer(503, "SlowDown")) }.times(2));
    let agent = site.start(&site.manifest("storm", "1Gi"));
    assert!(read(&agent.root().join("b/c")).unwrap() == site.bytes("b/c"));
}

#[test]
fn what_prefetch_could_not_fetch_is_listed_and_fetched_later() {
    let site = site();
    let id = site.proxy.add(Rule::gets(Fault::Answer(500, "InternalError")).of("victim"));
    let agent = site.start(&site.impatient("faults").with("prefetch: {policy: Eager}"));
    let status = agent
        .wait_status("the failed file to be listed", SOON * 2, |s| s["prefetch"]["failedFiles"].as_u64().unwrap_or(0) > 0)
        .unwrap();
    assert_eq!(status["phase"], "Degraded", "{status:#}");
    assert!(status["prefetch"]["failed"].to_string().contains(VICTIM), "{status:#}");
    site.proxy.remove(id);
    agent
        .wait_status("the file to be fetched after all", SOON * 2, |s| s["phase"] == "Ready" && s["cache"]["percent"] == 100)
        .unwrap();
}
