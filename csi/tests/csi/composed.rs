//! Pods that stay on a generation: csi composes it of what an agent gives, and shows the Dataset's own mount where it cannot.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use forebay_api::node::{Composed, Layers, OBJECTS};
use forebay_catalog::{Builder, BuilderConfig, Entry, Listed, MountSpec};
use forebay_compose::{Image, Look};
use forebay_fs::memory::Contents;

use crate::agent::{BIG, pattern};
use crate::harness::{Node, is_gone, wait_until};

const LOOK: Look = Look { uid: 0, gid: 0, file_mode: 0o444, dir_mode: 0o555 };
/// A generation of which the agent gives an image that is none.
const BROKEN: u64 = 9;

/// The file that is in the directory of complete files, with bytes that no agent has.
const PUBLISHED: &str = "published/file";
/// The one that comes from agents alone.
const SERVED: &str = "served";

fn object(path: &str) -> [u8; 32] {
    let mut name = [0xab; 32];
    name[..path.len()].copy_from_slice(path.as_bytes());
    name
}

fn hex(path: &str) -> (String, String) {
    let hex: String = object(path).iter().map(|byte| format!("{byte:02x}")).collect();
    (hex[..2].to_owned(), hex[2..].to_owned())
}

fn native() -> Vec<u8> {
    pattern(77, BIG).to_vec()
}

fn served() -> Vec<u8> {
    pattern(78, 300_000).to_vec()
}

/// What agents have beside their tree.
pub(crate) fn objects(files: Contents) -> Contents {
    [(PUBLISHED, vec![0; BIG]), (SERVED, served())].into_iter().fold(files, |files, (path, bytes)| {
        let (first, rest) = hex(path);
        let path = [OBJECTS, format!("/{first}/{rest}").as_bytes()].concat();
        files.file(path, bytes, 0)
    })
}

/// What an agent gives csi. Each generation has a file of its number.
pub(crate) fn layers(run: &Path, generation: u64) -> Layers {
    let dir = tempfile::tempdir_in(run).unwrap();
    let image = dir.path().join("image");
    if generation == BROKEN {
        fs::write(&image, vec![7; 1 << 20]).unwrap();
    } else {
        let mounts = vec![MountSpec::new("/", "mem://x")];
        let config = BuilderConfig { dataset: "ml/imagenet".into(), generation, listed_at_ns: 11, mounts, memory: 8 << 20 };
        let mut builder = Builder::new(dir.path(), config).unwrap();
        let number = format!("generation-{generation}");
        for (key, size) in [(PUBLISHED, BIG), (SERVED, served().len()), (&number, 0)] {
            builder.add(0, Listed { key, size: size as u64, mtime_ns: 5, version: "m5" }).unwrap();
        }
        let catalog = builder.finish(&dir.path().join("catalog")).unwrap();
        let name = |entry: &Entry<'_>| Some(object(entry.path().strip_prefix('/').unwrap()));
        Image::new(&catalog, LOOK, name).write(&image).unwrap();
    }
    let published = run.join("native");
    let (first, rest) = hex(PUBLISHED);
    fs::create_dir_all(published.join(&first)).unwrap();
    fs::write(published.join(first).join(rest), native()).unwrap();
    let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
    let namespace = open(Path::new("/proc/self/ns/mnt"));
    Layers { generation, namespace, image: open(&image), directories: vec![open(&published)] }
}

/// Keeps what csi says for [`told`].
pub(crate) fn note(run: &Path, composed: &Composed) {
    let draft = run.join("told.new");
    fs::write(&draft, format!("{:?} {}", composed.generations, composed.why_not.as_deref().unwrap_or("-"))).unwrap();
    fs::rename(draft, run.join("told")).unwrap();
}

fn told(node: &Node) -> String {
    fs::read_to_string(node.path("run/told")).unwrap_or_default()
}

fn assert_told(node: &Node, what: &str) {
    wait_until(&format!("the agent is told {what}, not {}", told(node)), || told(node) == what);
}

/// The generation that a pod sees, by the names that it sees.
fn seen(node: &Node, pod: &str) -> Vec<String> {
    let names = fs::read_dir(node.target(pod)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("generation-")).collect();
    names.sort();
    names
}

fn composed(node: &Node) -> PathBuf {
    node.path("kubelet/plugins/csi.forebay.io/composed")
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_keep_names_and_complete_files_whoever_dies_and_the_rest_comes_with_the_next_agent() {
    let mut node = Node::new();
    node.start_composing_agent(1);
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    assert_told(&node, "[1] -");
    assert!(fs::read(node.target("a").join(PUBLISHED)).unwrap() == native(), "not from the directory");
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = text.lines().find(|line| line.contains(node.target("a").to_str().unwrap())).unwrap();
    assert!(line.contains(" - overlay forebay:ml/imagenet ro") && line.contains(" ro,nosuid,nodev,"), "{line}");

    node.kill_agent();
    node.kill_csi();
    assert_eq!(seen(&node, "a"), ["generation-1"]);
    assert!(fs::read(node.target("a").join(PUBLISHED)).unwrap() == native(), "by nobody");
    // Both dead at once is what the Dataset's own mount does not survive, and with it what is not complete.
    fs::read(node.target("a").join(SERVED)).unwrap_err();

    // It is mounted anew, and what was composed over the former is put away.
    node.start_csi();
    node.start_composing_agent(1);
    node.publish("ml/imagenet", "b", "ml").await.unwrap();
    assert_told(&node, "[1] -");
    assert!(fs::read(node.target("b").join(SERVED)).unwrap() == served());

    // One at a time nobody notices.
    node.kill_agent();
    let waiting = std::thread::spawn({
        let at = node.target("b").join(SERVED);
        move || fs::read(at)
    });
    assert!(fs::read(node.target("b").join(PUBLISHED)).unwrap() == native());
    node.start_composing_agent(2);
    assert!(waiting.join().unwrap().unwrap() == served());
    assert_told(&node, "[1] -");
    // The next agent has the kernel look at all names anew.
    assert!(fs::read(node.target("b").join(SERVED)).unwrap() == served());
    assert_told(&node, "[1] -");
    node.kill_csi();
    node.start_csi();
    assert_told(&node, "[1] -");

    // The next generation is for those that come, and each goes with its last pod.
    for pod in ["c", "d"] {
        node.publish("ml/imagenet", pod, "ml").await.unwrap();
    }
    assert_told(&node, "[1, 2] -");
    let device = |pod: &str| fs::metadata(node.target(pod)).unwrap().dev();
    assert!(device("c") == device("d") && device("b") != device("c"), "one for all pods");
    node.publish("ml/imagenet", "b", "ml").await.unwrap();
    assert_eq!((seen(&node, "b"), seen(&node, "c")), (vec!["generation-1".into()], vec!["generation-2".into()]));
    node.unpublish("ml/imagenet", "b").await.unwrap();
    assert_told(&node, "[2] -");
    for pod in ["a", "c", "d"] {
        assert!(!is_gone(&composed(&node)));
        node.unpublish("ml/imagenet", pod).await.unwrap();
    }
    assert_told(&node, "[] -");
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!((node.mounts(), fs::read_dir(composed(&node)).map_or(0, Iterator::count)), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_composed_is_shown_all_the_same_and_the_agent_is_told_why() {
    let mut node = Node::new();
    node.start_composing_agent(BROKEN);
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    let small = node.target("a").join("dir/small");
    assert_eq!(fs::read_to_string(&small).unwrap(), "dataset 1");
    assert!(told(&node).starts_with("[] the kernel refuses an EROFS image in a file: "), "{}", told(&node));
    // A pod keeps what it began with, also when it could be composed now.
    node.kill_agent();
    node.start_composing_agent(1);
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    assert_eq!(fs::read_to_string(&small).unwrap(), "dataset 1");
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!((node.mounts(), fs::read_dir(composed(&node)).map_or(0, Iterator::count)), (vec![], 0));
}
