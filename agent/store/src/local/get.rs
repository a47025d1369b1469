use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::pread;

use super::beneath::{self, failed, file_type, mtime_ns};
use super::{LocalStore, Shared, path};
use crate::range::within;
use crate::{GetStream, ObjectMeta, StoreErrorKind, StoreResult, Version};

/// Bytes of one read: large enough that the hop to a blocking thread does not count.
const CHUNK: u64 = 1 << 20;

pub(super) fn head(shared: &Shared, key: &str) -> StoreResult<ObjectMeta> {
    let root = beneath::root(shared, "head", key)?;
    // A marker's key names a directory.
    let (path, wanted) = match key.strip_suffix('/') {
        Some(path) => (path, FileType::Directory),
        None => (key, FileType::RegularFile),
    };
    if !path::is_key(path) {
        return not_found(shared, &root, "head", key);
    }
    let stat = match beneath::stat(root.as_fd(), path) {
        Ok(stat) => stat,
        Err(errno) if super::error::kind(errno) == StoreErrorKind::NotFound => {
            return not_found(shared, &root, "head", key);
        }
        Err(errno) => return Err(failed(shared, "head", key, errno)),
    };
    match file_type(&stat) {
        found if found == wanted => Ok(meta(key, &stat)),
        FileType::Directory | FileType::RegularFile => not_found(shared, &root, "head", key),
        special => Err(shared.error("head", key, StoreErrorKind::Unsupported(format!("{special:?} is not a plain file")))),
    }
}

/// `NotFound`, unless the whole store is not there.
fn not_found<T>(shared: &Shared, root: &OwnedFd, operation: &'static str, key: &str) -> StoreResult<T> {
    beneath::check_mounted(shared, root.as_fd(), operation, key)?;
    Err(shared.error(operation, key, StoreErrorKind::NotFound))
}

pub(super) fn meta(key: &str, stat: &Stat) -> ObjectMeta {
    let mtime_ns = mtime_ns(stat);
    let size = if file_type(stat) == FileType::RegularFile { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    ObjectMeta { key: key.to_owned(), size, mtime_ns, version: Version::Modified(mtime_ns) }
}

pub(super) async fn get(store: &LocalStore, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
    let (owned, wanted, asked) = (key.to_owned(), version.clone(), range.clone());
    let (file, meta) = store.blocking("get", key, move |shared| open(shared, &owned, &wanted, &asked)).await?;
    let reader = Reader { store: store.clone(), file: Arc::new(file), meta: meta.clone(), rest: range };
    let body = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        if reader.rest.is_empty() {
            return None;
        }
        let chunk = reader.next().await;
        let reader = chunk.is_ok().then_some(reader);
        Some((chunk, reader))
    });
    Ok(GetStream { meta, checksum: None, body: body.boxed() })
}

fn open(shared: &Shared, key: &str, version: &Version, range: &Range<u64>) -> StoreResult<(OwnedFd, ObjectMeta)> {
    let root = beneath::root(shared, "get", key)?;
    if !path::is_key(key) {
        return not_found(shared, &root, "get", key);
    }
    let (file, stat) = match beneath::file(root.as_fd(), key) {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            return Err(shared.error("get", key, StoreErrorKind::Unsupported("not a plain file".to_owned())));
        }
        Err(errno) if super::error::kind(errno) == StoreErrorKind::NotFound => {
            return not_found(shared, &root, "get", key);
        }
        Err(errno) => return Err(failed(shared, "get", key, errno)),
    };
    let meta = meta(key, &stat);
    if meta.version != *version {
        return Err(changed(shared, key, version, &meta));
    }
    if !within(range, meta.size) {
        return Err(shared.error("get", key, StoreErrorKind::RangeNotSatisfiable));
    }
    Ok((file, meta))
}

fn changed(shared: &Shared, key: &str, expected: &Version, found: &ObjectMeta) -> crate::StoreError {
    let found = format!("{}, {} bytes", found.version, found.size);
    shared.error("get", key, StoreErrorKind::Changed { expected: expected.clone(), found })
}

struct Reader {
    store: LocalStore,
    file: Arc<OwnedFd>,
    meta: ObjectMeta,
    rest: Range<u64>,
}

impl Reader {
    async fn next(&mut self) -> StoreResult<Bytes> {
        let (file, meta, at) = (self.file.clone(), self.meta.clone(), self.rest.start);
        let wanted = (self.rest.end - at).min(CHUNK) as usize;
        let work = move |shared: &Shared| read(shared, &file, &meta, at, wanted);
        let chunk = self.store.blocking("get", &self.meta.key, work).await?;
        self.rest.start += chunk.len() as u64;
        Ok(chunk)
    }
}

/// Reads `wanted` bytes at `at`, and then looks whether they are still that version's.
fn read(shared: &Shared, file: &OwnedFd, meta: &ObjectMeta, at: u64, wanted: usize) -> StoreResult<Bytes> {
    let key = &meta.key;
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let place = at + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), place) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(shared, "get", key, errno)),
        }
    }
    let now = self::meta(key, &fstat(file).map_err(|errno| failed(shared, "get", key, errno))?);
    if (&now.version, now.size) != (&meta.version, meta.size) {
        return Err(changed(shared, key, &meta.version, &now));
    }
    // A vector may have been given more room than asked for.
    bytes.truncate(wanted);
    if bytes.len() < wanted {
        let kind = StoreErrorKind::Truncated { got: bytes.len() as u64, expected: wanted as u64 };
        return Err(shared.error("get", key, kind));
    }
    Ok(bytes.into())
}
