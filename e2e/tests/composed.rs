//! A Snapshot's names and its complete pinned files need no agent. As root; other users get the FUSE tree, and are told why.

use std::fs;
use std::process::Command;
use std::time::Duration;

use forebay_e2e::{Agent, AgentFiles, Manifest, RequestKind, TreeSum, wait_until};
use serde_json::Value;

use crate::metrics::{get, sample};
use crate::native::opens;
use crate::support::{BUCKET, SOON, Site, is_cached, noise, read};

fn start(site: &Site, manifest: &Manifest) -> Agent {
    let files = AgentFiles { arguments: vec!["--composed".into()], ..site.files() };
    Agent::start(&files, manifest).unwrap()
}

fn composed(status: &Value) -> (String, String) {
    let all = status["conditions"].as_array().unwrap();
    let condition = all.iter().find(|condition| condition["type"] == "Composed").unwrap();
    (condition["status"].as_str().unwrap().into(), condition["message"].as_str().unwrap().into())
}

#[test]
fn pinned_files_are_read_with_no_agent_alive() {
    assert!(rustix::process::geteuid().is_root(), "composed mounts need root");
    let site = Site::new().with_tree();
    let manifest = site.manifest("pinned", "4Gi").with("prefetch: {policy: Eager}").with("pin: {paths: [/]}");
    let mut agent = start(&site, &manifest);
    let status = agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    assert_eq!(composed(&status).0, "True", "{status:#}");
    let expected = TreeSum::of(&site.source, 4).unwrap();
    agent.kill().unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&agent.root(), 4).unwrap()), [""; 0]);

    let mut next = start(&site, &manifest);
    next.wait_status("everything to be known as cached", SOON, is_cached).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&next.root(), 4).unwrap()), [""; 0]);
    assert!(next.stop().unwrap(), "{}", next.process.tail());
}

#[test]
fn small_files_that_were_read_need_no_agent_while_there_is_room() {
    assert!(rustix::process::geteuid().is_root(), "composed mounts need root");
    let small = ["d/one", "d/two"];
    let site = Site::new().with_files(&[(small[0], 5_000), (small[1], 1 << 20), ("large", (2 << 20) + 1)]);
    let manifest = site.manifest("loose", "64Mi");
    let mut agent = start(&site, &manifest);
    let root = agent.root();
    let read_all = || {
        for name in small.iter().chain(&["large"]) {
            assert!(read(&root.join(name)).unwrap() == site.bytes(name), "{name}");
        }
    };
    read_all();
    let published = |agent: &Agent| sample(&get(agent, "/metrics").1, "forebay_cache_native_files{");
    wait_until("small files to be published", SOON, || Ok((published(&agent) == 2.0).then_some(()))).unwrap();
    // Until the kernel looks anew it opens them as it did first, and what is open just then no sooner than the next time: they are left
    // alone meanwhile.
    wait_until("small files to be opened without the agent", SOON * 3, || {
        std::thread::sleep(Duration::from_secs(15));
        let before = opens(&agent);
        small.iter().for_each(|name| assert!(read(&root.join(name)).unwrap() == site.bytes(name), "{name}"));
        Ok((opens(&agent) == before).then_some(()))
    })
    .unwrap();
    read_all();

    agent.kill().unwrap();
    for name in small {
        let cat = Command::new("cat").arg(root.join(name)).output().unwrap();
        assert!(cat.status.success() && cat.stdout == site.bytes(name), "{name}: {}", String::from_utf8_lossy(&cat.stderr));
    }
    assert!(read(&root.join("large")).is_err(), "it is not small");

    let mut next = start(&site, &manifest);
    assert_eq!(TreeSum::of(&site.source, 4).unwrap().differences(&TreeSum::of(&next.root(), 4).unwrap()), [""; 0]);
    wait_until("what is published to be known", SOON, || Ok((published(&next) == 2.0).then_some(()))).unwrap();
    assert!(next.stop().unwrap(), "{}", next.process.tail());
}

#[test]
fn names_cost_no_request_and_data_comes_when_it_is_read() {
    let site = Site::new().with_files(&[("a/one", 3 << 20), ("a/b/two", 5), ("zero", 0)]);
    let agent = start(&site, &site.manifest("lazy", "1Gi"));
    site.proxy.reset_counts();
    assert_eq!(fs::metadata(agent.root().join("a/one")).unwrap().len(), 3 << 20);
    assert_eq!(fs::read_dir(agent.root().join("a/b")).unwrap().count(), 1);
    assert_eq!(read(&agent.root().join("zero")).unwrap(), b"");
    assert_eq!(site.proxy.seen(), []);
    for name in ["a/one", "a/b/two"] {
        assert!(read(&agent.root().join(name)).unwrap() == site.bytes(name), "{name}");
    }
    let gets = site.proxy.count(RequestKind::Get);
    assert!(gets > 0);
    assert!(read(&agent.root().join("a/one")).unwrap() == site.bytes("a/one"));
    assert_eq!(site.proxy.count(RequestKind::Get), gets);
}

#[test]
fn a_refresh_shows_the_new_tree_and_open_files_stay_as_they_were() {
    let site = Site::new().with_files(&[("file", 200_000), ("goes", 10)]);
    let manifest = site.manifest("turns", "1Gi").with("prefetch: {policy: Eager}").with("pin: {paths: [/]}");
    let agent = start(&site, &manifest);
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    let path = agent.root().join("file");
    let open = fs::File::open(&path).unwrap();
    let (old, new) = (site.bytes("file"), noise(9, 210_000));
    site.client.put(BUCKET, "file", &new).unwrap();
    site.client.put(BUCKET, "comes", b"came").unwrap();
    site.client.delete(BUCKET, "goes").unwrap();
    agent.refresh().unwrap();
    wait_until("the new tree to show", SOON, || Ok((read(&path).ok().as_ref() == Some(&new)).then_some(()))).unwrap();
    assert_eq!(read(&agent.root().join("comes")).unwrap(), b"came");
    assert_eq!(read(&agent.root().join("goes")), Err(2));
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut &open, &mut whole).unwrap();
    assert!(whole == old);
}

#[test]
fn a_tree_that_changes_by_itself_is_not_composed_and_says_so() {
    let site = Site::new().with_files(&[("file", 10)]);
    let agent = start(&site, &site.manifest("aging", "1Gi").with("consistency: {policy: MaxAge, maxAge: 1h}"));
    let (holds, why) = composed(&agent.status().unwrap());
    assert_eq!(holds, "False");
    assert!(why.contains("Snapshot"), "{why}");
    assert!(read(&agent.root().join("file")).unwrap() == site.bytes("file"));
}
