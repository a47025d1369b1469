//! Several Datasets of one manifest: each has a place, a quota and pins of its own, also where they share a store.

use std::fs;
use std::process::Command;

use forebay_e2e::{Agent, AgentFiles, Manifest, Process, RequestKind, S3Server, TreeSum, mounts_below, wait_until};
use serde_json::Value;

use crate::refused::{expect_refusal, local, place};
use crate::support::{BUCKET, SOON, Site, noise, read, read_afresh};

const MIB: u64 = 1 << 20;

/// A file of several Datasets, each with its namespace. They share the first one's CacheRuntime.
pub(crate) fn together(datasets: &[(&str, &Manifest)]) -> String {
    let mut file = String::new();
    for (namespace, manifest) in datasets {
        let text = manifest.to_yaml().replace("namespace: default", &format!("namespace: {namespace}"));
        let (runtime, dataset) = text.split_once("---\n").unwrap();
        if file.is_empty() {
            file.push_str(runtime);
        }
        file.extend(["---\n", dataset]);
    }
    file
}

/// Starts an agent with such a file, and returns at once. The handle speaks of one of its Datasets at a time.
pub(crate) fn start(files: &AgentFiles, manifest: &str, dataset: &str) -> Agent {
    fs::write(&files.manifest, manifest).unwrap();
    let process = Process::spawn("forebay-agent", files.mount_command(), &files.log).unwrap();
    Agent { process, files: files.clone(), dataset: dataset.into() }
}

/// What `forebay-agent status` lists: `namespace/name` and the place, if it is mounted.
fn listed(files: &AgentFiles) -> Vec<String> {
    let output = Command::new(&files.program).args(["status", "-o", "json", "--state"]).arg(&files.state).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = |item: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("nowhere").to_owned();
        let metadata = &item["metadata"];
        let place = text(&metadata["annotations"]["forebay.io/mounted-at"]);
        format!("{}/{} {place}", text(&metadata["namespace"]), text(&metadata["name"]))
    };
    list["items"].as_array().unwrap().iter().map(line).collect()
}

/// What is cached of a Dataset, and what of it is pinned.
fn cached(agent: &mut Agent, dataset: &str) -> (u64, u64) {
    agent.dataset = dataset.into();
    let cache = agent.status().unwrap()["cache"].clone();
    (cache["bytes"].as_u64().unwrap(), cache["pinnedBytes"].as_u64().unwrap())
}

#[test]
fn each_has_its_place_its_bytes_its_quota_and_its_pins() {
    let names = ["own/f0", "own/f1", "own/f2", "own/f3", "shared/g0", "shared/g1", "shared/g2", "shared/g3"];
    let site = Site::new().with_files(&names.map(|name| (name, 4 << 20)));
    let dataset = |name: &str, source: &str| {
        let mut manifest = site.manifest(name, "32Mi").with("prefetch: {policy: OnDemand}");
        manifest.mounts[0].source = source.into();
        manifest
    };
    let whole = dataset("whole", "s3://data").with("quota: 4Mi");
    let rest = dataset("rest", "s3://data/own");
    let part = dataset("part", "s3://data/shared").with("pin: {paths: [/]}");
    let again = dataset("again", "s3://data/shared");
    let mut locked = dataset("locked", "s3://data");
    locked.mounts[0].keys = Some((S3Server::ACCESS_KEY.into(), "not-the-secret".into()));
    let all = [("one", &whole), ("one", &rest), ("two", &part), ("two", &again), ("two", &locked)];
    // Two Secrets of one name in two namespaces: each Dataset is given its own namespace's.
    let manifest = together(&all).replace("whole-0", "keys").replace("locked-0", "keys");
    let files = site.files();
    let mut agent = start(&files, &manifest, "part");
    for name in ["part", "again", "whole", "rest"] {
        agent.dataset = name.into();
        agent.wait_mounted().unwrap();
    }
    agent.dataset = "locked".into();
    let status = agent.wait_status("the listing to fail", SOON, |s| s["phase"] == "Failed").unwrap();
    assert!(status.to_string().contains("AccessDenied"), "{status:#}");

    let at = |name: &str| files.at.join(name);
    let mut mounted = mounts_below(&files.at).unwrap();
    mounted.sort();
    assert_eq!(mounted, ["again", "part", "rest", "whole"].map(at));
    let line = |namespace: &str, name: &str| format!("{namespace}/{name} {}", at(name).display());
    let nowhere = "two/locked nowhere".to_owned();
    let lines = [line("one", "rest"), line("one", "whole"), line("two", "again"), nowhere, line("two", "part")];
    assert_eq!(listed(&files), lines);
    let words = agent.words().unwrap();
    for word in ["NAMESPACE", "one/rest: mounted at", "two/again: mounted at", "two/locked: not mounted yet"] {
        assert!(words.contains(word), "{word} is missing in\n{words}");
    }

    let expect_tree = |name: &str, source: &str| {
        let (expected, found) = (TreeSum::of(&site.source.join(source), 2).unwrap(), TreeSum::of(&at(name), 2).unwrap());
        assert_eq!(expected.differences(&found), [""; 0], "{name}");
    };
    // What one has pinned is there for another of the same directory too.
    agent.dataset = "part".into();
    let pinned = |s: &Value| s["cache"]["pinnedBytes"] == 16 * MIB && s["cache"]["bytes"] == 16 * MIB;
    agent.wait_status("the pins", SOON, pinned).unwrap();
    site.proxy.reset_counts();
    expect_tree("part", "shared");
    expect_tree("again", "shared");
    assert_eq!(site.proxy.count(RequestKind::Get), 0, "{:?}", site.proxy.seen());

    // The quota of one bounds it alone, and the pins of one are its own and hold whatever the others read.
    expect_tree("whole", "");
    let (bytes, pins) = cached(&mut agent, "whole");
    assert!((1..=4 * MIB).contains(&bytes) && pins == 0, "{bytes} {pins}");
    expect_tree("rest", "own");
    let (bytes, pins) = cached(&mut agent, "rest");
    assert!(bytes > 4 * MIB && pins == 0, "{bytes} {pins}");
    assert_eq!(cached(&mut agent, "part"), (16 * MIB, 16 * MIB));
    assert_eq!(cached(&mut agent, "again").1, 0);
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
    assert!(mounts_below(&files.at).unwrap().is_empty());
}

#[test]
fn two_of_one_name_are_refused_whatever_their_namespaces() {
    let (dir, files) = place();
    let twin = local(dir.path(), &files, "twin");
    let text = together(&[("one", &twin), ("two", &twin)]);
    fs::write(&files.manifest, &text).unwrap();
    // The kind stands on the second line of a document, the name on the third.
    let kinds = text.lines().zip(1..).filter(|(line, _)| *line == "kind: Dataset").map(|(_, number)| number);
    let [first, second] = kinds.collect::<Vec<usize>>()[..] else { panic!("not two Datasets in\n{text}") };
    let line = format!("FILE:{}:", second + 1);
    let why = format!("there is a Dataset \"twin\" on line {} already", first - 1);
    expect_refusal(
        &files,
        "two of one name",
        &[line.as_str(), "Dataset twin: metadata.name: ", &why, "give one of the two another name"],
    );
}

#[test]
fn what_one_has_left_behind_stays_pinned_for_another() {
    let site = Site::new().with_files(&[("file", MIB as usize)]);
    let follows = site.manifest("follows", "64Mi").with("prefetch: {policy: Eager}");
    let keeps = site.manifest("keeps", "64Mi").with("consistency: {policy: Snapshot}").with("pin: {paths: [/]}");
    let mut agent = start(&site.files(), &together(&[("default", &keeps), ("default", &follows)]), "keeps");
    for name in ["keeps", "follows"] {
        agent.dataset = name.into();
        agent.wait_mounted().unwrap();
        let fetched = |s: &Value| s["phase"] == "Ready" && s["prefetch"]["doneFiles"] == 1;
        agent.wait_status("the file to be fetched", SOON, fetched).unwrap();
    }
    let (old, new) = (site.bytes("file"), noise(9, MIB as usize));
    site.client.put(BUCKET, "file", &new).unwrap();
    agent.refresh().unwrap();
    let turned = |s: &Value| s["phase"] == "Ready" && s["catalog"]["generation"] == 2;
    agent.wait_status("the new listing to be fetched", SOON, turned).unwrap();
    wait_until("the new bytes", SOON, || Ok((read(&agent.root().join("file")).ok().as_ref() == Some(&new)).then_some(())))
        .unwrap();
    // Nothing but the cache has the old ones any more.
    let kept = read_afresh(&agent.files.at.join("keeps/file"), 0, MIB as usize);
    assert!(kept.as_ref() == Ok(&old), "{:?}", kept.map(|bytes| bytes.len()));
    assert_eq!(cached(&mut agent, "keeps").1, MIB);
}
