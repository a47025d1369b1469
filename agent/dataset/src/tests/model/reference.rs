//! What must be true, by the simplest means.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use forebay_cache::ObjectId;
use forebay_fs::{DirEntry, Node, NodeKind, ROOT_INO, Tree};
use forebay_store::UnderStore;
use forebay_store::memory::MemoryStore;

use crate::tests::content;

/// Every file that there may be.
pub(super) const KEYS: [&str; 6] = ["f0", "d0/f1", "d0/e/f2", "d1/f3", "d1/e/f4", "d1/f5"];

/// Names that are listed in one go.
const PIECE: usize = 2;

/// One version of an object.
pub(super) struct Version {
    pub(super) bytes: Vec<u8>,
    mtime_ns: i64,
    /// What the cache calls it.
    pub(super) id: ObjectId,
}

pub(super) type Files = BTreeMap<&'static str, Arc<Version>>;

#[derive(Default)]
pub(super) struct Reference {
    /// The store now.
    pub(super) store: Files,
    /// The tree as last listed.
    pub(super) tree: Files,
    changes: u64,
}

impl Reference {
    /// Changes an object here and in the store.
    pub(super) fn put(&mut self, store: &MemoryStore, key: &'static str, size: usize) {
        self.changes += 1;
        let bytes = content(self.changes, size);
        let meta = store.put(key, bytes.clone());
        let id = ObjectId::derive(store.id().as_str(), key, meta.version.to_token().as_bytes(), meta.size);
        self.store.insert(key, Arc::new(Version { bytes, mtime_ns: meta.mtime_ns, id }));
    }

    /// Whether the store still has that very version.
    pub(super) fn is_current(&self, key: &str, version: &Arc<Version>) -> bool {
        self.store.get(key).is_some_and(|now| Arc::ptr_eq(now, version))
    }
}

impl Version {
    /// What a read of `len` bytes at `at` gives.
    pub(super) fn slice(&self, at: u64, len: u32) -> &[u8] {
        let start = self.bytes.len().min(usize::try_from(at).unwrap());
        let end = self.bytes.len().min(start + len as usize);
        &self.bytes[start..end]
    }

    /// Whether the file has exactly these bytes.
    pub(super) fn is_all_of(&self, file: &File) -> bool {
        let mut found = vec![0; self.bytes.len() + 1];
        let mut read = 0;
        loop {
            match file.read_at(&mut found[read..], read as u64).unwrap() {
                0 => return found[..read] == self.bytes[..],
                more => read += more,
            }
        }
    }
}

/// Kind, size, time and subdirectories by path.
pub(super) type Shown = BTreeMap<String, (NodeKind, u64, i64, u32)>;

/// The tree of these files.
pub(super) fn expected(files: &Files) -> Shown {
    let mut shown = Shown::new();
    for (key, version) in files {
        for (at, _) in key.match_indices('/') {
            let directory = shown.entry(key[..at].to_owned()).or_insert((NodeKind::Dir, 0, i64::MIN, 0));
            directory.2 = directory.2.max(version.mtime_ns);
        }
        shown.insert((*key).to_owned(), (NodeKind::File, version.bytes.len() as u64, version.mtime_ns, 0));
    }
    let directories: Vec<String> =
        shown.iter().filter(|(_, node)| node.0 == NodeKind::Dir).map(|(path, _)| path.clone()).collect();
    for directory in directories {
        if let Some((parent, _)) = directory.rsplit_once('/')
            && let Some(parent) = shown.get_mut(parent)
        {
            parent.3 += 1;
        }
    }
    shown
}

/// The tree as somebody finds it who lists all of it and looks at every name.
pub(super) fn seen(tree: &dyn Tree) -> Shown {
    let mut shown = Shown::new();
    let mut directories = vec![(ROOT_INO, String::new())];
    while let Some((directory, above)) = directories.pop() {
        for (name, node) in list(tree, directory) {
            let path = format!("{above}{name}");
            assert_eq!(tree.lookup(directory, name.as_bytes()).unwrap(), node, "{path}");
            assert_eq!(tree.node(node.ino).unwrap(), node, "{path}");
            if node.is_dir() {
                directories.push((node.ino, format!("{path}/")));
            }
            let twice = shown.insert(path.clone(), (node.kind, node.size, node.mtime_ns, node.subdirectories));
            assert!(twice.is_none(), "{path} is listed twice");
        }
    }
    shown
}

fn list(tree: &dyn Tree, directory: u64) -> Vec<(String, Node)> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let (from, mut taken) = (next, 0);
        let each = &mut |entry: &DirEntry<'_>| {
            if taken == PIECE {
                return false;
            }
            taken += 1;
            next = entry.cookie;
            all.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.node));
            true
        };
        tree.read_dir(directory, from, each).unwrap();
        if taken < PIECE {
            return all;
        }
    }
}
