use std::fmt;
use std::sync::Arc;

/// An object's key inside its store, relative to the mount's root; never starts with `/`.
///
/// Keys are UTF-8. A store that can hold other names (a local directory) reports those as
/// [`crate::Unrepresentable`] instead of inventing a spelling.
pub type Key = String;

/// Names one store for ever, e.g. `s3://obs.example/imagenet/train` or `file:///data`.
///
/// Two mounts with the same id share cached objects, so it holds everything that decides what a key means
/// (endpoint, bucket, root) and nothing that does not (credentials, limits).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(Arc<str>);

impl StoreId {
    /// Wraps an already normalised URL.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The strongest identity of an object's content that its store gives: a strong ETag where there is one, else
/// size and modification time. Different content has a different version as far as the store can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// An entity tag as the store sends it, quotes included.
    ETag(Box<str>),
    /// Modification time in nanoseconds since the epoch; the size stands beside it in [`ObjectMeta`].
    Modified(i64),
}

impl Version {
    /// A text form that [`Version::parse`] reads back; part of an object's cache name, so it never changes.
    pub fn to_token(&self) -> String {
        match self {
            Version::ETag(tag) => format!("e{tag}"),
            Version::Modified(ns) => format!("m{ns}"),
        }
    }

    /// Reads what [`Version::to_token`] wrote; `None` for anything else.
    pub fn parse(token: &str) -> Option<Self> {
        if let Some(tag) = token.strip_prefix('e') {
            return Some(Version::ETag(tag.into()));
        }
        token.strip_prefix('m')?.parse().ok().map(Version::Modified)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::ETag(tag) => write!(f, "etag {tag}"),
            Version::Modified(ns) => write!(f, "mtime {ns} ns"),
        }
    }
}

/// One object version as listed or looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Key relative to the mount's root.
    pub key: Key,
    /// Content length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the epoch; 0 where the store gives none.
    pub mtime_ns: i64,
    /// Identity of the content.
    pub version: Version,
}
