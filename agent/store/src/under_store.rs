use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Key, ObjectMeta, StoreId, StoreResult, Tally, Version};

/// A body in flight. Yields chunks whose lengths add up to exactly the range asked for, or ends with an error:
/// an adapter turns a short body into `StoreErrorKind::Truncated` and a long one into `Protocol`.
pub type ByteStream = BoxStream<'static, StoreResult<Bytes>>;

/// Where a listing goes on; opaque, only meaningful to the store that gave it for the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub String);

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that start with this, relative to the mount's root. Empty, or ends with `/`.
    pub prefix: Key,
    /// `true`: everything below the prefix, flat. `false`: one level, deeper keys folded into `ListPage::prefixes`.
    pub recursive: bool,
    /// Continues an earlier page.
    pub page: Option<PageToken>,
}

/// A name that the store holds and a [`Key`] cannot carry (a local file name that is not UTF-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepresentable {
    /// The name with the offending parts replaced, for people.
    pub lossy: String,
    /// Why it cannot be shown.
    pub reason: String,
}

/// One page of a listing. Objects may come in any order; the catalog sorts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Objects of this page, trailing-slash markers included as they are.
    pub objects: Vec<ObjectMeta>,
    /// With `recursive: false`: prefixes one level down, each ending with `/`.
    pub prefixes: Vec<Key>,
    /// Names that were seen and cannot be represented.
    pub unrepresentable: Vec<Unrepresentable>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<PageToken>,
}

/// What a store promises about an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// MD5 of the whole object (a plain S3 ETag of a single-part upload without KMS).
    Md5([u8; 16]),
    /// CRC-32C of the whole object.
    Crc32c(u32),
}

/// A body with what the store said of the object that it belongs to.
pub struct GetStream {
    /// The object as served now; its version equals the one asked for.
    pub meta: ObjectMeta,
    /// Checksum of the whole object, where the store gives one. Only of use when the range is the whole object.
    pub checksum: Option<Checksum>,
    /// The range's bytes.
    pub body: ByteStream,
}

impl std::fmt::Debug for GetStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetStream").field("meta", &self.meta).field("checksum", &self.checksum).finish_non_exhaustive()
    }
}

/// One version of an object, as a catalog lists it.
#[derive(Clone, Copy, Debug)]
pub struct ObjectVersion<'a> {
    /// Key relative to the mount's root.
    pub key: &'a str,
    /// Identity of the content.
    pub version: &'a Version,
    /// Length of the whole object in bytes.
    pub size: u64,
}

/// A remote store as the agent sees it: list, look up, read a range of one exact version.
///
/// Every call is cancellation-safe: dropping the future (or the body) gives its connection and its permits back.
/// Errors say which store, key and operation failed; see [`crate::StoreError`].
#[async_trait]
pub trait UnderStore: Debug + Send + Sync + 'static {
    /// The name that is part of every cached object's name.
    fn id(&self) -> &StoreId;

    /// One page of a listing. A store without listings answers `StoreErrorKind::Unsupported`.
    async fn list(&self, request: ListRequest) -> StoreResult<ListPage>;

    /// The object's current state; `NotFound` when there is none.
    async fn head(&self, key: &str) -> StoreResult<ObjectMeta>;

    /// Bytes `range` (half open, within the object's size, not empty) of exactly `version`.
    /// `Changed` when the object is another version by now, `NotFound` when it is gone.
    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream>;

    /// The same for an object whose size is known too; `tally` is told who answers. A store that other nodes stand before asks them first.
    async fn get_object(&self, object: ObjectVersion<'_>, range: Range<u64>, tally: &Arc<Tally>) -> StoreResult<GetStream> {
        tally.store_get();
        self.get(object.key, object.version, range).await
    }

    /// Whether [`UnderStore::get_object`] of this range may wait for another node, which may be waiting for this one in turn: it must not
    /// take what others need to get on.
    fn may_wait_for_peers(&self, _object: ObjectVersion<'_>, _range: &Range<u64>) -> bool {
        false
    }
}
