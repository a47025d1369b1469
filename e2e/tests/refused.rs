//! What cannot be mounted is refused in one message that says where to look, and nothing is mounted.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use forebay_e2e::{Agent, AgentFiles, Manifest, MountSpec, mounts_below, unmount_below, wait_until};
use tempfile::TempDir;

use crate::metrics::get;
use crate::several::{start, together};
use crate::support::SOON;

/// A place for agents; what runs there is declared after it, and so ends before.
pub(crate) fn place() -> (TempDir, AgentFiles) {
    let dir = tempfile::Builder::new().prefix("forebay-e2e-").tempdir().unwrap();
    let files = AgentFiles::below(&dir.path().join("agent")).unwrap();
    (dir, files)
}

/// A Dataset of a directory that has one file.
pub(crate) fn local(dir: &Path, files: &AgentFiles, name: &str) -> Manifest {
    let data = dir.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), "content").unwrap();
    Manifest::new(name, vec![MountSpec::plain("/", &format!("file://{}", data.display()))], &files.tier, "64Mi")
}

/// Runs `forebay-agent mount`, which must fail with one line on its error output that has all of `words`. FILE stands for the
/// manifest.
pub(crate) fn expect_refusal(files: &AgentFiles, what: &str, words: &[&str]) {
    let (out, err) = (files.log.with_extension("out"), files.log.with_extension("err"));
    let mut command = files.mount_command();
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let ended = wait_until("the agent to end", SOON, || Ok(child.try_wait()?.map(|_| ())));
    // One that has ended already is what is wanted.
    let _ = child.kill();
    let status = child.wait().unwrap();
    let mounted = [mounts_below(&files.at).unwrap(), mounts_below(&files.state).unwrap()].concat();
    unmount_below(&files.at).unwrap();
    unmount_below(&files.state).unwrap();
    let (out, err) = (fs::read_to_string(&out).unwrap(), fs::read_to_string(&err).unwrap());
    assert!(ended.is_ok(), "{what}: it goes on: {err}");
    assert_eq!(status.code(), Some(1), "{what}: {err}");
    assert_eq!(out, "", "{what}");
    assert!(err.starts_with("forebay-agent: ") && err.lines().count() == 1, "{what}: {err}");
    for word in words {
        let word = word.replace("FILE", &files.manifest.display().to_string());
        assert!(err.contains(&word), "{what}: {word} is missing in {err}");
    }
    assert!(mounted.is_empty(), "{what}: {mounted:?}");
    assert_eq!(fs::read_dir(&files.at).unwrap().count(), 0, "{what}: something was made where nothing is mounted");
}

/// What becomes of a good manifest's text, and words of the message.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    ("a field misspelt", "quota:", "quotta:", &["FILE:16:3: Dataset refused: spec.quotta: ", "did you mean quota?"]),
    ("a quote that nobody closes", "kind: Dataset", "kind: \"Dataset", &["FILE:9:7: this is not YAML"]),
    ("a unit that is none", "capacity: 64Mi", "capacity: 64Megs", &["FILE:6:", "CacheRuntime default: spec.tiers[0].capacity: "]),
    (
        "a field that another needs",
        "  quota: 1Gi",
        "  consistency: {policy: MaxAge}",
        &["FILE:16:", "Dataset refused: spec.consistency.maxAge: ", "set maxAge"],
    ),
    (
        "two mounts at one path",
        "  - path: /\n",
        "  - {path: /, source: /elsewhere}\n  - path: /\n",
        &["FILE:15:", "Dataset refused: spec.mounts[1].path: ", "give each entry a path of its own"],
    ),
    (
        "a Secret for what takes none",
        "  quota: 1Gi",
        "    secretRef: {name: keys}",
        &["FILE:16:", "spec.mounts[0].secretRef: a directory takes no credentials; remove secretRef"],
    ),
    (
        "a secret that is a number",
        "  quota: 1Gi\n",
        "  quota: 1Gi\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {token: 271828182845}\n",
        &["FILE:21:", "Secret keys: stringData.token: ", "(it is not shown)"],
    ),
    (
        "a runtime misspelt",
        "runtime: default",
        "runtime: defualt",
        &["FILE:12:12: Dataset refused: spec.runtime: ", "did you mean default?"],
    ),
    ("a store that nobody reads", "source: file://", "source: gs://", &["FILE:15:", "spec.mounts[0].source: ", "not supported"]),
    (
        "a tier larger than its disk",
        "capacity: 64Mi",
        "capacity: 4Pi",
        &["tier ssd: its capacity of", "lower capacity or reserve"],
    ),
    (
        "two CacheRuntimes",
        "---\n",
        "---\napiVersion: forebay.io/v1alpha1\nkind: CacheRuntime\nmetadata: {name: second}\nspec: {tiers: [{name: ram, medium: Memory, capacity: 16Mi}]}\n---\n",
        &["2 CacheRuntimes; one agent serves one"],
    ),
];

#[test]
fn a_bad_manifest_is_one_message_and_no_mount() {
    let (dir, files) = place();
    let manifest = local(dir.path(), &files, "refused").with("quota: 1Gi");
    let good = manifest.to_yaml();
    for &(what, from, to, words) in CASES {
        assert_eq!(good.matches(from).count(), 1, "{what}");
        fs::write(&files.manifest, good.replace(from, to)).unwrap();
        expect_refusal(&files, what, words);
        let shown = fs::read_to_string(files.log.with_extension("err")).unwrap();
        assert!(!shown.contains("271828182845"), "{what}: {shown}");
    }
    let (_, dataset) = good.split_once("---\n").unwrap();
    let whole: [(&str, &[u8], &[&str]); 3] = [
        ("nothing in the file", b"", &["FILE has no Dataset; add one to mount"]),
        ("no text", b"kind: \xff\n", &["FILE:1:7: the file is not UTF-8"]),
        (
            "no CacheRuntime",
            dataset.as_bytes(),
            &["FILE:5:12: Dataset refused: spec.runtime: ", "add a document with kind: CacheRuntime"],
        ),
    ];
    for (what, text, words) in whole {
        fs::write(&files.manifest, text).unwrap();
        expect_refusal(&files, what, words);
    }
    fs::remove_file(&files.manifest).unwrap();
    expect_refusal(&files, "no file", &["read the manifest FILE: ", "No such file"]);

    // None of them spoilt the place.
    let mut agent = Agent::start(&files, &manifest).unwrap();
    assert_eq!(fs::read(agent.root().join("file")).unwrap(), b"content");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn a_tier_that_another_agent_has_is_refused() {
    let (dir, files) = place();
    let manifest = local(dir.path(), &files, "first");
    let mut agent = Agent::start(&files, &manifest).unwrap();
    let second = AgentFiles::below(&dir.path().join("second")).unwrap();
    fs::write(&second.manifest, manifest.to_yaml()).unwrap();
    let tier = files.tier.display().to_string();
    expect_refusal(&second, "a tier in use", &["tier ssd: the directory", &tier, "in use by another process"]);
    assert_eq!(fs::read(agent.root().join("file")).unwrap(), b"content");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn a_place_with_files_in_it_is_left_as_it_is_and_mounted_over_once_it_is_empty() {
    let (dir, files) = place();
    let (taken, mine) = (files.at.join("taken"), files.at.join("taken/mine"));
    fs::create_dir(&taken).unwrap();
    fs::write(&mine, "mine").unwrap();
    let [taken_one, free_one] = ["taken", "free"].map(|name| local(dir.path(), &files, name));
    let mut agent = start(&files, &together(&[("default", &taken_one), ("default", &free_one)]), "free");
    agent.wait_mounted().unwrap();
    let told = wait_until("the refusal to be told", SOON, || {
        Ok(agent.process.output().lines().find(|line| line.contains("is not empty")).map(str::to_owned))
    })
    .unwrap();
    for word in ["ERROR", "default/taken", "/mnt/taken is not empty"] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert_eq!(mounts_below(&files.at).unwrap(), [files.at.join("free")]);
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    let (status, why) = get(&agent, "/readyz");
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("[-] default/taken: not mounted") && why.contains("[+] default/free: mounted at"), "{why}");

    // The next listing finds the place empty.
    fs::remove_file(&mine).unwrap();
    agent.dataset = "taken".into();
    agent.refresh().unwrap();
    agent.wait_mounted().unwrap();
    assert_eq!(fs::read(taken.join("file")).unwrap(), b"content");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
