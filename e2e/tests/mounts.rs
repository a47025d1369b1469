//! Several stores appear as one tree.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use forebay_e2e::{HttpServer, Manifest, MountSpec, TreeSum};

use crate::support::{SOON, Site, is_cached};

#[test]
fn s3_a_directory_and_http_in_one_tree() {
    let site = Site::new().with_files(&[("train/a", 2 << 20), ("train/deep/b", 100), ("labels/hidden", 5)]);
    let (local, www) = (site.dir.path().join("local"), site.dir.path().join("www"));
    for (path, content) in [(local.join("x"), "local x"), (local.join("sub/y"), "local y"), (www.join("l/1.txt"), "label 1")] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(www.join("index.txt"), "l/1.txt\n").unwrap();
    let http = HttpServer::start(&www, site.dir.path()).unwrap();

    let labels = MountSpec::plain("/labels", &format!("http://{}/", http.address)).option("index: index.txt");
    let more = MountSpec::plain("/more/local", &format!("file://{}", local.display()));
    let manifest = Manifest::new("union", vec![site.mount(), labels, more], &site.files().tier, "1Gi");
    let mut agent = site.start(&manifest.with("prefetch: {policy: Eager}"));

    // The deeper mount hides what the outer store has under its path.
    let expected = site.dir.path().join("expected");
    for (from, to) in [(site.source.join("train"), "train"), (www.join("l"), "labels/l"), (local, "more/local")] {
        copy_tree(&from, &expected.join(to));
    }
    let (expected, found) = (TreeSum::of(&expected, 2).unwrap(), TreeSum::of(&agent.root(), 2).unwrap());
    assert_eq!(expected.differences(&found), [""; 0]);
    let status = agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    assert_eq!(status["catalog"]["files"], 5, "{status:#}");
    assert_eq!(status["catalog"]["mounts"].as_array().map(Vec::len), Some(3), "{status:#}");
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

#[test]
fn includes_and_excludes_choose_files() {
    let site = Site::new().with_files(&[("a.txt", 1), ("b.bin", 2), ("dir/c.txt", 3), ("dir/tmp/d.txt", 4)]);
    let mut mount = site.mount();
    mount.path = "/\n    include: [\"**/*.txt\"]\n    exclude: [\"**/tmp/**\"]".into();
    let agent = site.start(&Manifest::new("globs", vec![mount], &site.files().tier, "1Gi"));
    let found = TreeSum::of(&agent.root(), 2).unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["a.txt", "dir/c.txt"]);
}

#[test]
fn names_that_cannot_be_files_are_reported() {
    let site = Site::new();
    let local = site.dir.path().join("local");
    fs::create_dir(&local).unwrap();
    fs::write(local.join("good"), "good").unwrap();
    fs::write(local.join(std::ffi::OsStr::from_bytes(b"bad-\xff")), "bad").unwrap();
    let mount = MountSpec::plain("/", &format!("file://{}", local.display()));
    let agent = site.start(&Manifest::new("odd", vec![mount], &site.files().tier, "1Gi"));
    let catalog = agent.status().unwrap()["catalog"].clone();
    assert_eq!((&catalog["files"], &catalog["rejected"]), (&1.into(), &1.into()), "{catalog:#}");
    assert!(catalog["rejectedSample"].to_string().contains("bad-"), "{catalog:#}");
    assert_eq!(fs::read(agent.root().join("good")).unwrap(), b"good");
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
