//! What becomes of keys that cannot be file names, from a store that has them to the tree in the mount and to the status. The
//! paragraphs are those of `docs/semantics.md`.

mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use forebay_e2e::{Agent, AgentFiles, Manifest, MountSpec};
use serde_json::Value;
use tempfile::TempDir;

use crate::metrics::{get, sample};
use store::{Object, Store};

/// What becomes of an object, by the names of `docs/semantics.md`; the last two are `unrepresentable`, each for a reason of the
/// store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Shown,
    Collapsed,
    Marker,
    MarkerWithBytes,
    FileAndPrefix,
    Ambiguous,
    Repeated,
    Superseded,
    Shadowed,
    Excluded,
    DotSegment,
    Nul,
    NameTooLong,
    PathTooLong,
    VersionTooLong,
    NoText,
    LeadingSlash,
}

impl Fate {
    fn is_file(self) -> bool {
        matches!(self, Self::Shown | Self::Collapsed)
    }

    /// What the reason says that it is reported with, and the remedy in it; `None` where nobody need know.
    fn told(self) -> Option<[&'static str; 2]> {
        Some(match self {
            Self::Shown | Self::Marker | Self::Repeated | Self::Excluded => return None,
            Self::Collapsed => ["has empty segments", "shown without them"],
            Self::Superseded => ["listed twice", "the newest is shown"],
            Self::MarkerWithBytes => ["ends with '/'", "rename the object"],
            Self::FileAndPrefix => ["lie below this key", "rename the object or exclude it"],
            Self::Ambiguous => ["another key has the same path", "rename the object"],
            Self::Shadowed => ["a deeper mount owns this path", "exclude it here or move the mount"],
            Self::DotSegment => ["a segment is '.' or '..'", "rename the object"],
            Self::Nul => ["a NUL character", "rename the object"],
            Self::NameTooLong => ["longer than 255 bytes", "rename the object"],
            Self::PathTooLong => ["longer than a system call takes", "mount a deeper prefix"],
            Self::VersionTooLong => ["longer than 4096 bytes", "exclude the object"],
            Self::NoText => ["not UTF-8", ""],
            Self::LeadingSlash => ["begins with '/'", ""],
        })
    }

    /// Whether its bytes cannot be read, though nobody asked for that.
    fn is_rejected(self) -> bool {
        self.told().is_some() && !matches!(self, Self::Collapsed | Self::Superseded)
    }
}

/// An object and what becomes of it.
struct Row {
    /// The paragraph that says so.
    number: &'static str,
    fate: Fate,
    object: Object,
    /// Its path in the tree; empty where it has none.
    path: String,
}

/// A bucket with a directory of it that is mounted, as keys begin, and where.
const MOUNTS: [(&str, &str, &str); 2] = [("data", "", "/"), ("deep", "pre/", "/way/deep")];

impl Row {
    fn of(mount: usize, number: &'static str, fate: Fate, key: impl AsRef<[u8]>, path: &str) -> Self {
        let (bucket, prefix, _) = MOUNTS[mount];
        let key = [prefix.as_bytes(), key.as_ref()].concat();
        let content = if fate == Fate::Marker { Vec::new() } else { [&b"the bytes of "[..], &key[..]].concat() };
        let object = Object { bucket, key, content, tag: "v1".into(), newer: false };
        Self { number, fate, object, path: path.to_owned() }
    }

    /// Written anew while it was listed.
    fn newer(mut self) -> Self {
        self.object.content.extend(b", anew");
        self.object.tag = "v2".into();
        self.object.newer = true;
        self
    }

    fn tagged(mut self, tag: String) -> Self {
        self.object.tag = tag;
        self
    }

    fn mount(&self) -> (&'static str, &'static str) {
        let (_, prefix, path) = MOUNTS.into_iter().find(|(bucket, ..)| *bucket == self.object.bucket).unwrap();
        (prefix, path)
    }

    /// Mount and key as a report has them: the key relative to the mount's directory, 4,096 bytes of it.
    fn reported(&self) -> (String, String) {
        let (prefix, path) = self.mount();
        let key = match self.fate {
            // A listing by directories folds all keys that begin so into this.
            Fate::LeadingSlash => "/".to_owned(),
            _ => String::from_utf8_lossy(&self.object.key[prefix.len()..]).chars().take(4096).collect(),
        };
        (path.to_owned(), key)
    }
}

/// Of all that is reported, a status has room for 20.
fn table() -> Vec<Row> {
    use Fate::*;
    // So many names of 250 bytes, and a last one.
    let path = |letter: &str, names: usize, last: usize| format!("{}/", letter.repeat(250)).repeat(names) + &letter.repeat(last);
    let (longest, too_long, key_too_long) = (path("n", 15, 75), path("m", 15, 76), path("o", 16, 81));
    assert_eq!((longest.len(), too_long.len(), key_too_long.len()), (3840, 3841, 4097));
    let (widest, too_wide) = ("w".repeat(255), format!("wide/{}", "w".repeat(256)));
    let row = |number, fate, key: &[u8], path: &str| Row::of(0, number, fate, key, path);
    let deep = |number, fate, key: &[u8], path: &str| Row::of(1, number, fate, key, path);
    // Not a space alone: the SDK takes that for no key when it asks for the object's head.
    let names = [
        " a ",
        "...",
        "..two",
        "100%",
        "a+b c",
        "<&>\"'",
        "back\\slash",
        "Case",
        "case",
        "e\u{301}",
        "é",
        "日本",
        "\u{1}\t\n\u{7f}",
    ];
    let mut rows: Vec<Row> = names.map(|name| row("N2", Shown, name.as_bytes(), name)).into();
    rows.extend([
        row("N1", Shown, b"plain/file.jpg", "plain/file.jpg"),
        deep("N1", Shown, b"inner", "way/deep/inner"),
        row("N3", Shadowed, b"way/deep/hidden", ""),
        row("N3", Shown, b"way/other", "way/other"),
        row("N8", Excluded, b"top.tmp", ""),
        row("N8", Excluded, b"gone/only.tmp", ""),
        row("N9", Excluded, b"skip/", ""),
        row("N9", Excluded, b"skip/../a", ""),
        row("N9", Excluded, b"skip//b", ""),
        row("N9", Excluded, format!("skip/{}", "s".repeat(300)).as_bytes(), ""),
        row("N10", Marker, b"empty/", "empty"),
        deep("N10", Marker, b"", "way/deep"),
        row("N11", MarkerWithBytes, b"bytes/", "bytes"),
        row("N12", FileAndPrefix, b"both", ""),
        row("N12", Shown, b"both/x", "both/x"),
        row("N12", FileAndPrefix, b"mark", ""),
        row("N12", Marker, b"mark/", "mark"),
        row("N13", FileAndPrefix, b"way", ""),
        row("N14", Collapsed, b"a//b", "a/b"),
        row("N14", Marker, b"x//", "x"),
        row("N15", Shown, b"same/x", "same/x"),
        row("N15", Ambiguous, b"same//x", ""),
        row("N15", Collapsed, b"two///x/y", "two/x/y"),
        row("N15", Ambiguous, b"two//x///y", ""),
        row("N16", DotSegment, b"..", ""),
        row("N16", DotSegment, b"dot/./a", ""),
        row("N17", Nul, b"nul\0/c", ""),
        row("N18", Shown, widest.as_bytes(), &widest),
        row("N18", NameTooLong, too_wide.as_bytes(), ""),
        row("N19", Shown, longest.as_bytes(), &longest),
        row("N19", PathTooLong, too_long.as_bytes(), ""),
        row("N19", PathTooLong, key_too_long.as_bytes(), ""),
        row("N20", Shown, b"twice", "twice").newer(),
        row("N20", Superseded, b"twice", ""),
        row("N20", Shown, b"again", "again"),
        row("N20", Repeated, b"again", ""),
        row("N21", NoText, b"caf\xe9", ""),
        deep("N21", LeadingSlash, b"/c", ""),
        row("N22", VersionTooLong, b"long-version", "").tagged("v".repeat(4096)),
    ]);
    rows
}

/// The tree that the table promises: the content of files, nothing of directories.
fn promised(rows: &[Row]) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut tree = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.path.is_empty()) {
        let above = row.path.match_indices('/').map(|(at, _)| (row.path[..at].to_owned(), None));
        tree.extend(above);
        tree.insert(row.path.clone(), row.fate.is_file().then(|| row.object.content.clone()));
    }
    tree
}

/// The tree that the mount shows.
fn shown(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let (mut tree, mut todo) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if fs::metadata(&path).unwrap().is_dir() {
                tree.insert(name, None);
                todo.push(path);
            } else {
                tree.insert(name, Some(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))));
            }
        }
    }
    tree
}

/// Starts an agent that mounts what `rows` have of the buckets.
fn start(rows: &[Row], name: &str) -> (TempDir, Store, Agent) {
    let dir = tempfile::Builder::new().prefix("forebay-e2e-").tempdir().unwrap();
    let store = Store::start(rows.iter().map(|row| row.object.clone()).collect());
    let mount = |(bucket, prefix, path): (&str, &str, &str)| {
        let mut mount = MountSpec::s3(path, bucket, &store.endpoint(), ("id", "secret"));
        mount.source = format!("s3://{bucket}/{prefix}").trim_end_matches('/').into();
        mount
    };
    let mut mounts = MOUNTS.map(mount).to_vec();
    mounts[0].path = "/\n    exclude: [\"skip/**\", \"**/*.tmp\"]".into();
    let files = AgentFiles::below(&dir.path().join("agent")).unwrap();
    // Each open asks for the object by its key, so that not only listings and reads have to spell it right.
    let manifest = Manifest::new(name, mounts, &files.tier, "64Mi").with("consistency: {policy: Validate}");
    let agent = Agent::start(&files, &manifest).unwrap();
    (dir, store, agent)
}

/// Mount, key and reason of what the status names.
fn sampled(catalog: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sample = catalog["rejectedSample"].as_array().unwrap().iter();
    sample.map(|one| (text(&one["mount"]), text(&one["key"]), text(&one["reason"]))).collect()
}

#[test]
fn n10_to_n22_each_key_has_its_fate_in_the_tree_and_in_the_status() {
    let rows = table();
    for number in (10..=22).map(|number| format!("N{number}")) {
        assert!(rows.iter().any(|row| row.number == number), "{number} is not in the table");
    }
    let (_dir, _store, mut agent) = start(&rows, "fates");

    let (promised, shown) = (promised(&rows), shown(&agent.root()));
    let lacking: Vec<_> = promised.keys().filter(|path| !shown.contains_key(*path)).collect();
    let beyond: Vec<_> = shown.keys().filter(|path| !promised.contains_key(*path)).collect();
    assert_eq!((lacking, beyond), (vec![], vec![]), "paths that lack, and that should not be there");
    for (path, content) in &promised {
        assert_eq!(shown[path], *content, "{path:?}");
    }

    let catalog = agent.status().unwrap()["catalog"].clone();
    let count = |what: fn(Fate) -> bool| rows.iter().filter(|row| what(row.fate)).count();
    let (files, rejected) = (count(Fate::is_file), count(Fate::is_rejected));
    assert_eq!((&catalog["files"], &catalog["rejected"]), (&files.into(), &rejected.into()), "{catalog:#}");
    for (n, (bucket, ..)) in MOUNTS.iter().enumerate() {
        let files = rows.iter().filter(|row| row.object.bucket == *bucket && row.fate.is_file()).count();
        assert_eq!(catalog["mounts"][n]["files"], files, "{catalog:#}");
    }
    let (mut found, mut wanted) = (sampled(&catalog), Vec::new());
    for row in &rows {
        wanted.extend(row.fate.told().map(|words| (row.reported(), row.number, words)));
    }
    found.sort();
    wanted.sort();
    let names = found.iter().map(|(mount, key, _)| (mount, key)).collect::<Vec<_>>();
    assert_eq!(names, wanted.iter().map(|((mount, key), ..)| (mount, key)).collect::<Vec<_>>());
    for ((_, key, reason), (_, number, words)) in found.iter().zip(&wanted) {
        assert!(words.iter().all(|word| reason.contains(word)), "{number} {key:?}: {reason}");
    }

    // The same is said to people and to who watches.
    let words = agent.words().unwrap();
    assert!(words.contains(&format!("not shown: {rejected} objects")), "{words}");
    let (_, page) = get(&agent, "/metrics");
    let metric = "forebay_dataset_rejected_objects{namespace=\"default\",dataset=\"fates\"}";
    assert_eq!(sample(&page, metric), rejected as f64);
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn n25_all_are_counted_and_the_first_16_of_a_fate_are_named() {
    let keys: Vec<String> = (0..40).map(|n| format!("x{n:02}/..")).collect();
    let mut rows: Vec<Row> = keys.iter().map(|key| Row::of(0, "N25", Fate::DotSegment, key, "")).collect();
    rows.push(Row::of(0, "N25", Fate::Shown, "file", "file"));
    let (_dir, _store, agent) = start(&rows, "many");
    assert_eq!(shown(&agent.root()).into_keys().collect::<Vec<_>>(), ["file", "way", "way/deep"]);
    let catalog = agent.status().unwrap()["catalog"].clone();
    assert_eq!((&catalog["files"], &catalog["rejected"]), (&1.into(), &40.into()), "{catalog:#}");
    let named: Vec<_> = sampled(&catalog).into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(named, keys[..16]);
}
