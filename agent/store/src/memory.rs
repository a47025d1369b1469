//! The in-memory twin: a store whose whole content a test (or a demonstration) holds in its hands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::range::within;
use crate::{
    Checksum, GetStream, ListPage, ListRequest, ObjectMeta, PageToken, StoreError, StoreErrorKind, StoreId, StoreResult,
    UnderStore, Unrepresentable, Version,
};

/// Keys of a page unless [`MemoryStore::set_page_size`] says otherwise; the same as S3's.
const PAGE_SIZE: usize = 1000;
/// Bytes of one chunk of a body unless [`MemoryStore::set_chunk_size`] says otherwise.
const CHUNK_SIZE: usize = 128 << 10;

/// An [`UnderStore`] over a map. Every change gives the object a new strong ETag, even when the bytes are the
/// same, and all of it is deterministic: two stores that saw the same calls give the same versions and times.
#[derive(Debug)]
pub struct MemoryStore {
    id: StoreId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<String, Object>,
    unrepresentable: Vec<Unrepresentable>,
    changes: u64,
    page_size: usize,
    chunk_size: usize,
    exists: bool,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    mtime_ns: i64,
    version: Version,
    checksum: Checksum,
}

impl MemoryStore {
    /// An empty store of that id, e.g. `memory://a`.
    pub fn new(id: &str) -> Self {
        Self {
            id: StoreId::new(id),
            state: Mutex::new(State {
                objects: BTreeMap::new(),
                unrepresentable: Vec::new(),
                changes: 0,
                page_size: PAGE_SIZE,
                chunk_size: CHUNK_SIZE,
                exists: true,
            }),
        }
    }

    /// Puts or replaces an object; its time is 2020-01-01 plus one second for each change so far.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> ObjectMeta {
        let seconds = 1_577_836_800 + self.lock().changes as i64;
        self.put_at(key, bytes, seconds * 1_000_000_000)
    }

    /// Puts or replaces an object with a modification time of the caller's choice.
    pub fn put_at(&self, key: &str, bytes: impl Into<Bytes>, mtime_ns: i64) -> ObjectMeta {
        let bytes = bytes.into();
        let mut state = self.lock();
        state.changes += 1;
        let version = Version::ETag(format!("\"m{}\"", state.changes).into());
        let checksum = Checksum::Crc32c(crc32c::crc32c(&bytes));
        let object = Object { bytes, mtime_ns, version, checksum };
        let meta = object.meta(key);
        state.objects.insert(key.to_owned(), object);
        meta
    }

    /// Removes an object; whether it was there.
    pub fn remove(&self, key: &str) -> bool {
        let mut state = self.lock();
        state.changes += 1;
        state.objects.remove(key).is_some()
    }

    /// The object's bytes as they are now, for comparison.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.lock().objects.get(key).map(|object| object.bytes.clone())
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Names that listings report as impossible to represent; they come with the first page of every listing.
    pub fn set_unrepresentable(&self, names: Vec<Unrepresentable>) {
        self.lock().unrepresentable = names;
    }

    /// Objects and prefixes of a page, at least one.
    pub fn set_page_size(&self, keys: usize) {
        self.lock().page_size = keys.max(1);
    }

    /// Bytes of one chunk of a body, at least one.
    pub fn set_chunk_size(&self, bytes: usize) {
        self.lock().chunk_size = bytes.max(1);
    }

    /// Whether the container is there; if not, every call answers `NoSuchContainer`.
    pub fn set_exists(&self, exists: bool) {
        self.lock().exists = exists;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn error(&self, operation: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError::new(&self.id, operation, key, kind)
    }

    fn find(&self, operation: &'static str, key: &str) -> StoreResult<(Object, usize)> {
        let state = self.lock();
        if !state.exists {
            return Err(self.error(operation, key, StoreErrorKind::NoSuchContainer));
        }
        let object = state.objects.get(key).ok_or_else(|| self.error(operation, key, StoreErrorKind::NotFound))?;
        Ok((object.clone(), state.chunk_size))
    }
}

impl Object {
    fn meta(&self, key: &str) -> ObjectMeta {
        ObjectMeta { key: key.to_owned(), size: self.bytes.len() as u64, mtime_ns: self.mtime_ns, version: self.version.clone() }
    }
}

#[async_trait]
impl UnderStore for MemoryStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        let state = self.lock();
        if !state.exists {
            return Err(self.error("list", &request.prefix, StoreErrorKind::NoSuchContainer));
        }
        let mut page = ListPage::default();
        let mut prefixes = BTreeSet::new();
        // A token is the last key or folded prefix of the page before.
        let after = request.page.as_ref().map(|token| token.0.as_str());
        if after.is_none() {
            page.unrepresentable = state.unrepresentable.clone();
        }
        let start = after.map_or(Bound::Included(request.prefix.as_str()), Bound::Excluded);
        let mut last: Option<String> = None;
        for (key, object) in state.objects.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(&request.prefix) else { break };
            let folded = match rest.find('/') {
                Some(slash) if !request.recursive => Some(&key[..request.prefix.len() + slash + 1]),
                _ => None,
            };
            if folded.is_some_and(|prefix| Some(prefix) == after || prefixes.contains(prefix)) {
                continue;
            }
            if page.objects.len() + prefixes.len() == state.page_size {
                page.next = last.map(PageToken);
                break;
            }
            last = Some(folded.unwrap_or(key).to_owned());
            match folded {
                Some(prefix) => drop(prefixes.insert(prefix.to_owned())),
                None => page.objects.push(object.meta(key)),
            }
        }
        page.prefixes = prefixes.into_iter().collect();
        Ok(page)
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        Ok(self.find("head", key)?.0.meta(key))
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        let (object, chunk_size) = self.find("get", key)?;
        if object.version != *version {
            let kind = StoreErrorKind::Changed { expected: version.clone(), found: object.version.to_string() };
            return Err(self.error("get", key, kind));
        }
        if !within(&range, object.bytes.len() as u64) {
            return Err(self.error("get", key, StoreErrorKind::RangeNotSatisfiable));
        }
        let meta = object.meta(key);
        let mut rest = object.bytes.slice(range.start as usize..range.end as usize);
        let body = stream::iter(std::iter::from_fn(move || {
            let chunk = rest.split_to(rest.len().min(chunk_size));
            (!chunk.is_empty()).then_some(Ok(chunk))
        }));
        Ok(GetStream { meta, checksum: Some(object.checksum), body: body.boxed() })
    }
}

#[cfg(test)]
mod tests;
