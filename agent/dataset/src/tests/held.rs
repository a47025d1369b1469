//! Generations that mounts show which this process cannot see.

use std::time::Duration;

use forebay_cache::ObjectId;
use forebay_fs::{FsError, Node, NodeKind, Owner, ROOT_INO, Tree};

use super::{Run, Store, content, settings, soon};

const NAME: &[u8] = b"\xffobjects";

fn owner() -> Owner {
    Owner { uid: 0, gid: 0, file_mode: 0o444, dir_mode: 0o555 }
}

/// The name of the object at `path` of the newest generation.
fn object(run: &Run, path: &str) -> ObjectId {
    let inner = &run.dataset.inner;
    let generation = inner.generations.current().unwrap();
    inner.object_id(&generation.catalog.by_path(path).unwrap()).unwrap()
}

/// As overlayfs looks for an object.
fn find(run: &Run, id: &ObjectId) -> Result<Node, FsError> {
    let (tree, name) = (run.dataset.beside(NAME), id.to_string());
    let objects = tree.lookup(ROOT_INO, NAME)?;
    assert_eq!((tree.node(objects.ino)?, tree.parent(objects.ino)?), (objects, ROOT_INO));
    let directory = tree.lookup(objects.ino, &name.as_bytes()[..2])?;
    assert_eq!((tree.node(directory.ino)?, tree.parent(directory.ino)?), (directory, objects.ino));
    tree.lookup(directory.ino, &name.as_bytes()[2..])
}

async fn read(run: &Run, id: &ObjectId) -> Vec<u8> {
    let (tree, node) = (run.dataset.beside(NAME), find(run, id).unwrap());
    assert_eq!(node.kind, NodeKind::File);
    let opened = soon(tree.open(node.ino)).await.unwrap();
    let bytes = soon(tree.read(opened.handle, 0, u32::try_from(node.size).unwrap())).await.unwrap();
    tree.release(opened.handle);
    bytes.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_mounts_show_is_kept_through_refreshes_and_restarts() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("a", content(1, 5000));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    assert_eq!(run.cat("/a").await.unwrap(), content(1, 5000));
    let names: Vec<_> = {
        let mut names = Vec::new();
        let each = &mut |entry: &forebay_fs::DirEntry<'_>| {
            names.push(entry.name.to_vec());
            true
        };
        run.dataset.beside(NAME).read_dir(ROOT_INO, 0, each).unwrap();
        names
    };
    assert!(!names.iter().any(|name| name == NAME), "it is not listed");
    let composed = run.dataset.compose_held(&owner()).unwrap().unwrap();
    assert!(composed.generation == 1 && composed.image.exists());
    let old = object(&run, "/a");

    store.memory.put("a", content(2, 5000));
    run.dataset.refresh(None);
    run.listed_after(1).await;
    assert_eq!(run.cat("/a").await.unwrap(), content(2, 5000));
    assert_eq!(read(&run, &old).await, content(1, 5000), "from the cache: the store has another version");
    run.end(true).await;

    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(1).await;
    assert_eq!(read(&run, &old).await, content(1, 5000), "the next agent has it");
    assert!(composed.image.exists());
    // What the word is about goes, and no more.
    run.dataset.hold_only(&[1]);
    assert_eq!(read(&run, &old).await, content(1, 5000));
    run.dataset.hold_only(&[]);
    soon(async {
        while composed.image.exists() || find(&run, &old).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(run.cat("/a").await.unwrap(), content(2, 5000));
    run.end(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mounts_of_another_boot_showed_is_not_kept() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("a", content(1, 10));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    let composed = run.dataset.compose_held(&owner()).unwrap().unwrap();
    store.memory.put("a", content(2, 10));
    run.dataset.refresh(None);
    run.listed_after(1).await;
    run.end(true).await;
    let mark = composed.image.with_extension("held");
    assert!(mark.exists());
    std::fs::write(&mark, "another").unwrap();
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(1).await;
    assert!(!composed.image.exists() && !mark.exists());
    run.end(true).await;
}

/// What the younger one shares with the older is not its alone: the older has it still when the younger goes.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_generation_shows_stays_when_a_younger_one_goes() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Store::new());
    store.memory.put("a", content(1, 5000));
    let run = Run::start(dir.path(), &store, settings(), 64);
    run.listed_after(0).await;
    assert_eq!(run.cat("/a").await.unwrap(), content(1, 5000));
    run.until(|status| status.cache.bytes == 5000).await;
    run.dataset.compose_held(&owner()).unwrap().unwrap();
    let (old, open) = (object(&run, "/a"), run.open("/a").await.unwrap());

    store.memory.put("b", content(2, 10));
    run.dataset.refresh(None);
    run.listed_after(1).await;
    store.memory.put("a", content(3, 5000));
    run.dataset.refresh(None);
    run.listed_after(2).await;
    // The second has gone when there is a fourth: one follows the other.
    run.dataset.refresh(None);
    run.listed_after(3).await;
    assert!(run.dataset.inner.generations.get(2).is_none());
    assert_eq!(read(&run, &old).await, content(1, 5000), "a mount shows it, and the store has it no more");
    assert_eq!(run.read(open, 0, 5000).await.unwrap(), content(1, 5000), "somebody has it open");
    run.dataset.release(open);
    run.end(true).await;
}
