use std::sync::Arc;

use forebay_cache::{Landing, Object};
use forebay_store::{Key, UnderStore, Version};

/// Who waits for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A reader: goes first.
    Reader,
    /// Prefetch and pin: takes what readers leave.
    Background,
}

/// One object version: where it comes from and where it lands.
#[derive(Clone)]
pub struct Remote {
    /// The store as readers use it.
    pub reader: Arc<dyn UnderStore>,
    /// The same store with the priority of background work.
    pub background: Arc<dyn UnderStore>,
    /// Key relative to the mount's root.
    pub key: Key,
    /// The version to fetch; no other is ever accepted.
    pub version: Version,
    /// Its place in the cache.
    pub object: Object,
    /// How it lands there.
    pub landing: Landing,
    /// Dataset and mount, for errors.
    pub label: Arc<str>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}/{} ({})", self.label, self.reader.id(), self.key, self.version)
    }
}

impl Remote {
    pub(crate) fn store(&self, class: Class) -> &dyn UnderStore {
        match class {
            Class::Reader => &*self.reader,
            Class::Background => &*self.background,
        }
    }
}
