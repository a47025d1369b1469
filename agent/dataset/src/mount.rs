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
    /// The same stores for what other nodes ask of this one, where these are asked first; `None`: nobody is.
    pub for_peers: Option<Stores>,
    /// Globs of what to show; none: everything.
    pub include: Vec<String>,
    /// Globs of what to leave out; stronger than `include`.
    pub exclude: Vec<String>,
}

/// A mount's store as two kinds of work use it.
#[derive(Clone, Debug)]
pub struct Stores {
    /// For readers.
    pub reader: Arc<dyn UnderStore>,
    /// For listing, prefetch and pin.
    pub background: Arc<dyn UnderStore>,
}

impl Mount {
    /// Its stores, with the other nodes before them where they are asked first.
    pub(crate) fn stores(&self) -> Stores {
        Stores { reader: self.reader.clone(), background: self.background.clone() }
    }

    pub(crate) fn spec(&self) -> MountSpec {
        MountSpec {
            path: self.path.clone(),
            store: self.reader.id().as_str().to_owned(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }
}
