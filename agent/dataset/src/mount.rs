use std::sync::Arc;

use forebay_catalog::MountSpec;
use forebay_store::UnderStore;

/// One of a Dataset's mounts, its store open.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it appears in the tree: `/` or `/labels`.
    pub path: String,
    /// The store for readers.
    pub reader: Arc<dyn UnderStore>,
    /// The same store for listing, prefetch and pin: what readers leave of its bounds.
    pub background: Arc<dyn UnderStore>,
    /// The same stores without anybody before them, where other nodes are asked first; `None`: nobody is.
    pub direct: Option<Direct>,
    /// Globs of what to show; none: everything.
    pub include: Vec<String>,
    /// Globs of what to leave out; stronger than `include`.
    pub exclude: Vec<String>,
}

/// A mount's stores as they are asked on behalf of other nodes.
#[derive(Clone, Debug)]
pub struct Direct {
    /// For readers.
    pub reader: Arc<dyn UnderStore>,
    /// For listing, prefetch and pin.
    pub background: Arc<dyn UnderStore>,
}

impl Mount {
    pub(crate) fn spec(&self) -> MountSpec {
        MountSpec {
            path: self.path.clone(),
            store: self.reader.id().as_str().to_owned(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }
}
