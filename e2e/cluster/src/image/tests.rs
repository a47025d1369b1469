#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Read;

use serde_json::Value;
use tar::Archive;

use super::*;

fn sample(dir: &Path) -> Image {
    let program = dir.join("program");
    fs::write(&program, "machine code").unwrap();
    // The order in which files are named is not the order in the image.
    Image::new("localhost/sample:v1", &["/usr/bin/program"])
        .text("/etc/motd", "hello")
        .program("/usr/bin/program", &program)
        .link("/bin", "usr/bin")
        .directory("/tmp", 0o1777)
}

fn members(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(File::open(archive).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.collect()
}

#[test]
fn two_builds_at_different_times_are_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.tar"), dir.path().join("second.tar"));
    sample(dir.path()).write(&first).unwrap();
    // The file's time and its owner's mode differ now.
    let program = dir.path().join("program");
    fs::remove_file(&program).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sample(dir.path()).write(&second).unwrap();
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
}

#[test]
fn every_reference_inside_is_to_a_blob_of_that_digest_and_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.tar");
    sample(dir.path()).write(&path).unwrap();
    let members = members(&path);
    let blob = |described: &Value| {
        let digest_named = described["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = &members[&format!("blobs/sha256/{digest_named}")];
        assert_eq!(digest(bytes), digest_named);
        assert_eq!(described["size"], bytes.len());
        bytes.clone()
    };
    let index: Value = serde_json::from_slice(&members["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/sample:v1");
    let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    let layer = blob(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(&layer)));
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/program");
    let docker: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    assert!(members.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
}

#[test]
fn the_layer_is_roots_sorted_and_timeless() {
    let dir = tempfile::tempdir().unwrap();
    let layer = sample(dir.path()).layer().unwrap();
    let mut archive = Archive::new(layer.as_slice());
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        seen.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
    }
    let expected = [
        ("bin", 0o777),
        ("etc/", 0o755),
        ("etc/motd", 0o644),
        ("tmp/", 0o1777),
        ("usr/", 0o755),
        ("usr/bin/", 0o755),
        ("usr/bin/program", 0o755),
    ];
    assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn a_name_without_a_tag_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Image::new("localhost", &["/x"]).write(&dir.path().join("x.tar")).unwrap_err();
    assert!(error.to_string().contains("no tag"), "{error}");
}
