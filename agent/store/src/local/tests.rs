#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};

use super::*;

struct Listed {
    keys: Vec<String>,
    prefixes: Vec<String>,
    reported: BTreeMap<String, String>,
    pages: usize,
}

async fn walk(store: &LocalStore, prefix: &str, recursive: bool) -> Listed {
    let mut all = Listed { keys: vec![], prefixes: vec![], reported: BTreeMap::new(), pages: 0 };
    let mut page = None;
    loop {
        let got = store.list(ListRequest { prefix: prefix.into(), recursive, page }).await.unwrap();
        all.pages += 1;
        all.keys.extend(got.objects.into_iter().map(|meta| meta.key));
        all.prefixes.extend(got.prefixes);
        all.reported.extend(got.unrepresentable.into_iter().map(|name| (name.lossy, name.reason)));
        page = got.next;
        if page.is_none() {
            all.keys.sort();
            all.prefixes.sort();
            return all;
        }
    }
}

fn store(root: &Path, page_size: usize) -> LocalStore {
    LocalStore::new(LocalConfig { page_size, ..LocalConfig::new(root) }).unwrap()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, bytes) in [("a", "1"), ("d/b", "22"), ("d/e/c", "333"), ("d/e/f/g", "4"), ("z z/+%", "5")] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), bytes).unwrap();
    }
    fs::create_dir_all(root.join("d/empty/inner")).unwrap();
    dir
}

#[tokio::test]
async fn pages_of_any_size_list_the_same() {
    let dir = tree();
    for index in 0..700 {
        fs::write(dir.path().join(format!("d/e/many-{index:04}")), "x").unwrap();
    }
    let mut want: Vec<String> = ["a", "d/b", "d/e/c", "d/e/f/g", "d/empty/inner/", "z z/+%"].map(String::from).to_vec();
    want.extend((0..700).map(|index| format!("d/e/many-{index:04}")));
    want.sort();
    for size in [1, 2, 7, 100, 10_000] {
        let got = walk(&store(dir.path(), size), "", true).await;
        assert_eq!(got.keys, want, "page size {size}");
        assert!(got.reported.is_empty(), "{:?}", got.reported);
        assert!(got.pages >= want.len() / size, "{} pages of {size}", got.pages);
    }
}

#[tokio::test]
async fn levels_fold_directories() {
    let dir = tree();
    let store = store(dir.path(), 1);
    let root = walk(&store, "", false).await;
    assert_eq!((root.keys, root.prefixes), (vec!["a".into()], vec!["d/".into(), "z z/".into()]));
    let level = walk(&store, "d/", false).await;
    assert_eq!((level.keys, level.prefixes), (vec!["d/b".into()], vec!["d/e/".into(), "d/empty/".into()]));
    let empty = walk(&store, "d/empty/inner/", false).await;
    assert_eq!(empty.keys, vec!["d/empty/inner/".to_owned()]);
    assert_eq!(store.head("d/empty/inner/").await.unwrap().size, 0);
    for nothing in ["nope/", "a/", "d/../d/", "d//", "/"] {
        let got = walk(&store, nothing, true).await;
        assert!(got.keys.is_empty() && got.prefixes.is_empty() && got.reported.is_empty(), "{nothing}");
    }
}

#[tokio::test]
async fn links_stay_inside_and_special_files_closed() {
    let (dir, outside) = (tree(), tempfile::tempdir().unwrap());
    let root = dir.path();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink("d/b", root.join("link-file")).unwrap();
    symlink("../d/e", root.join("z z/link-dir")).unwrap();
    symlink("..", root.join("d/e/up")).unwrap();
    symlink("gone", root.join("dangling")).unwrap();
    symlink("round", root.join("round")).unwrap();
    symlink(outside.path(), root.join("out-dir")).unwrap();
    symlink(outside.path().join("secret"), root.join("out-file")).unwrap();
    symlink("../../../../../../etc/passwd", root.join("d/climb")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"bad-\xff")), "x").unwrap();

    let store = store(root, 3);
    let got = walk(&store, "", true).await;
    let want = ["a", "d/b", "d/e/c", "d/e/f/g", "d/empty/inner/", "link-file", "z z/+%", "z z/link-dir/c", "z z/link-dir/f/g"];
    // Through the link, `up` leads to `d`, which is no directory above there: its content is seen once more, and ends.
    let extra = ["z z/link-dir/up/b", "z z/link-dir/up/empty/inner/"];
    let mut all: Vec<&str> = want.into_iter().chain(extra).collect();
    all.sort_unstable();
    assert_eq!(got.keys, all);
    let reason = |name: &str| got.reported.get(name).map(String::as_str).unwrap_or_default();
    assert!(reason("d/e/up").contains("holds it"));
    assert!(reason("z z/link-dir/up/e").contains("holds it"));
    for name in ["out-dir", "out-file", "d/climb", "absolute", "z z/link-dir/up/climb"] {
        assert!(reason(name).contains("out of the mount"), "{name}: {:?}", reason(name));
    }
    assert!(reason("dangling").contains("nowhere"));
    assert!(reason("round").contains("circle"));
    for name in ["fifo", "socket"] {
        assert!(reason(name).contains("fifo, socket or device"), "{name}");
    }
    assert!(reason("bad-\u{fffd}").contains("UTF-8"));

    for name in ["out-file", "d/climb", "absolute", "fifo", "socket", "out-dir/secret"] {
        let head = store.head(name).await.unwrap_err();
        let get = store.get(name, &Version::Modified(0), 0..1).await.unwrap_err();
        for error in [head, get] {
            assert!(matches!(error.kind, StoreErrorKind::Unsupported(_)), "{error}");
        }
    }
    assert_eq!(store.head("z z/link-dir/c").await.unwrap().size, 3);
    let level = walk(&store, "d/e/", false).await;
    assert_eq!(level.prefixes, vec!["d/e/f/".to_owned()]);
    assert!(level.reported.contains_key("d/e/up"));
}

#[tokio::test]
async fn a_root_that_is_not_mounted_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let list =
        |store: LocalStore| async move { store.list(ListRequest { prefix: String::new(), recursive: true, page: None }).await };
    let missing = store(&dir.path().join("nope"), 9);
    assert_eq!(list(missing.clone()).await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
    assert_eq!(missing.head("a").await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
    let empty = store(dir.path(), 9);
    assert_eq!(list(empty.clone()).await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
    assert_eq!(empty.head("a").await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
    let allowed = LocalStore::new(LocalConfig { allow_empty: true, ..LocalConfig::new(dir.path()) }).unwrap();
    assert_eq!(list(allowed.clone()).await.unwrap(), ListPage::default());
    assert_eq!(allowed.head("a").await.unwrap_err().kind, StoreErrorKind::NotFound);

    fs::write(dir.path().join("left-behind"), "x").unwrap();
    let marked = LocalConfig { marker: Some("m/here".into()), ..LocalConfig::new(dir.path()) };
    let marked = LocalStore::new(marked).unwrap();
    let error = list(marked.clone()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NoSuchContainer);
    assert!(error.to_string().contains("m/here"), "{error}");
    fs::create_dir(dir.path().join("m")).unwrap();
    fs::write(dir.path().join("m/here"), "").unwrap();
    assert_eq!(list(marked.clone()).await.unwrap().objects.len(), 2);
    assert_eq!(marked.head("nope").await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(list(store(&dir.path().join("m/here"), 9)).await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
}

#[tokio::test]
async fn a_file_changed_while_it_is_read_gives_no_byte_of_the_other_version() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("big");
    fs::write(&file, vec![1; 3 << 20]).unwrap();
    let store = store(dir.path(), 9);
    let meta = store.head("big").await.unwrap();
    let mut body = store.get("big", &meta.version, 0..meta.size).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap().len(), 1 << 20);
    // In place, and with a time that even a coarse clock tells apart.
    fs::write(&file, vec![2; 3 << 20]).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let error = body.next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Changed { .. }), "{error}");
    assert!(body.next().await.is_none());
    let error = store.get("big", &meta.version, 0..1).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Changed { .. }), "{error}");

    // Replaced by renaming: the open body goes on with the old file, whole.
    let meta = store.head("big").await.unwrap();
    let mut body = store.get("big", &meta.version, 1..meta.size).await.unwrap().body;
    let first = body.next().await.unwrap().unwrap();
    fs::write(dir.path().join("new"), vec![3; 3 << 20]).unwrap();
    fs::rename(dir.path().join("new"), &file).unwrap();
    let rest: Vec<_> = body.try_collect().await.unwrap();
    let all = [first.to_vec(), rest.concat()].concat();
    assert_eq!((all.len(), all.iter().all(|byte| *byte == 2)), ((3 << 20) - 1, true));
}

#[test]
fn ids_and_refused_configurations() {
    for (path, want) in
        [("/data", "file:///data"), ("/data//x/./y/", "file:///data/x/y"), ("/", "file:///"), ("/a/../b", "file:///a/../b")]
    {
        assert_eq!(LocalConfig::new(path).store_id().unwrap().as_str(), want);
    }
    for path in ["data", ""] {
        let error = LocalConfig::new(path).store_id().unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Config(_)), "{error}");
    }
    assert!(LocalConfig::new(OsStr::from_bytes(b"/\xff")).store_id().is_err());
    for marker in ["/etc", "../x", "", "a//b"] {
        let config = LocalConfig { marker: Some(marker.into()), ..LocalConfig::new("/data") };
        assert!(LocalStore::new(config).is_err(), "{marker}");
    }
}
