use std::time::Duration;

use forebay_crds::dataset::PrefetchOrder;

/// How fresh a Dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The tree as listed, until somebody asks for a refresh. A changed object fails with `ESTALE`.
    Snapshot,
    /// Listed anew at this age.
    MaxAge(Duration),
    /// Each open asks the store for the object's version; names are listed anew at this age.
    Validate(Duration),
}

impl Consistency {
    /// At which age the tree is listed again.
    pub(crate) fn relist_after(self) -> Option<Duration> {
        match self {
            Self::Snapshot => None,
            Self::MaxAge(age) | Self::Validate(age) => Some(age),
        }
    }
}

/// What is brought in before anybody reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefetch {
    /// Directories and files, absolute in the tree, in this order. Empty: nothing.
    pub paths: Vec<String>,
    /// The tier that prefetched blocks land in; `None`: the cache decides.
    pub tier: Option<String>,
    /// Order of the files within each path.
    pub order: PrefetchOrder,
    /// Objects at a time.
    pub concurrency: usize,
}

/// A Dataset's wishes, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `namespace/name`.
    pub name: String,
    /// Freshness.
    pub consistency: Consistency,
    /// Prefetch.
    pub prefetch: Prefetch,
    /// Directories and files whose objects are never evicted.
    pub pins: Vec<String>,
    /// Bytes that the Dataset may hold in the cache.
    pub quota: Option<u64>,
    /// Cached blocks go when unread for so long.
    pub ttl: Option<Duration>,
    /// Memory for sorting a listing, bytes.
    pub listing_memory: usize,
}
