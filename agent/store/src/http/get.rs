use std::ops::Range;

use ::http::{HeaderName, Method, StatusCode, header};
use reqwest::Url;

use super::client::{Answer, chunks, send};
use super::{HttpStore, url};
use crate::range::{cut, exact, header as range_header, parse_content_range, within};
use crate::{GetStream, ObjectMeta, StoreError, StoreErrorKind, StoreResult, Version};

pub(super) async fn head(store: &HttpStore, operation: &'static str, key: &str) -> StoreResult<ObjectMeta> {
    let url = locate(store, operation, key)?;
    head_url(store, operation, key, &url).await
}

/// What stands at a URL; the key is the name that errors and the answer give it.
pub(super) async fn head_url(store: &HttpStore, operation: &'static str, key: &str, url: &Url) -> StoreResult<ObjectMeta> {
    let answer = match send(store, operation, key, (Method::HEAD, url), &[], None).await {
        Ok(answer) => answer,
        Err(error) if matches!(error.kind, StoreErrorKind::Unsupported(_)) => {
            return head_by_get(store, operation, key, url).await;
        }
        Err(error) => return Err(error),
    };
    is_a_file(store, operation, key, url, &answer)?;
    match answer.text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()) {
        Some(size) => Ok(meta(key, size, &answer)),
        None => head_by_get(store, operation, key, url).await,
    }
}

/// For servers without HEAD, or whose HEAD gives no length: the first byte, for the sake of its headers.
async fn head_by_get(store: &HttpStore, operation: &'static str, key: &str, url: &Url) -> StoreResult<ObjectMeta> {
    let range = [(header::RANGE, "bytes=0-0".to_owned())];
    let answer = match send(store, operation, key, (Method::GET, url), &range, None).await {
        // What servers say of an empty file.
        Err(error) if error.kind == StoreErrorKind::RangeNotSatisfiable => {
            send(store, operation, key, (Method::GET, url), &[], None).await?
        }
        answer => answer?,
    };
    is_a_file(store, operation, key, url, &answer)?;
    match size(&answer) {
        Some(size) => Ok(meta(key, size, &answer)),
        None => Err(store.error(operation, key, StoreErrorKind::Unsupported("files whose size the server does not tell".into()))),
    }
}

/// The size of the whole file, from the headers of a full or a partial answer.
fn size(answer: &Answer) -> Option<u64> {
    match answer.text(header::CONTENT_RANGE) {
        Some(range) => parse_content_range(range)?.1,
        None => answer.text(header::CONTENT_LENGTH)?.parse().ok(),
    }
}

fn locate(store: &HttpStore, operation: &'static str, key: &str) -> StoreResult<Url> {
    let here = url::is_key(key) && !key.ends_with('/') && store.base.file().is_none_or(|file| file == key);
    let url = if here { store.base.url(key) } else { None };
    url.ok_or_else(|| store.error(operation, key, StoreErrorKind::NotFound))
}

fn is_a_file(store: &HttpStore, operation: &'static str, key: &str, url: &Url, answer: &Answer) -> StoreResult<()> {
    if !answer.is_directory(url) {
        return Ok(());
    }
    let kind = match store.base.file() {
        Some(_) => StoreErrorKind::Config("the source is a directory: write its URL with a '/' at the end".to_owned()),
        None => StoreErrorKind::NotFound,
    };
    Err(store.error(operation, key, kind))
}

pub(super) fn meta(key: &str, size: u64, answer: &Answer) -> ObjectMeta {
    let modified = answer.text(header::LAST_MODIFIED).and_then(|time| httpdate::parse_http_date(time).ok());
    let seconds = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let mtime_ns = seconds.and_then(|time| i64::try_from(time.as_nanos()).ok()).unwrap_or(0);
    let version = match answer.text(header::ETAG).map(str::trim) {
        Some(tag) if tag.starts_with('"') && tag.len() > 2 => Version::ETag(tag.into()),
        _ => Version::Modified(mtime_ns),
    };
    ObjectMeta { key: key.to_owned(), size, mtime_ns, version }
}

/// What binds a request to a version. A server that ignores it is caught by comparing its answer.
fn condition(version: &Version) -> Option<(HeaderName, String)> {
    match version {
        Version::ETag(tag) => Some((header::IF_MATCH, tag.to_string())),
        Version::Modified(0) => None,
        Version::Modified(ns) => {
            let since_epoch = std::time::Duration::from_nanos(u64::try_from(*ns).ok()?);
            let time = std::time::UNIX_EPOCH + since_epoch;
            Some((header::IF_UNMODIFIED_SINCE, httpdate::fmt_http_date(time)))
        }
    }
}

pub(super) async fn get(store: &HttpStore, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
    let url = locate(store, "get", key)?;
    if range.start >= range.end {
        return Err(store.error("get", key, StoreErrorKind::RangeNotSatisfiable));
    }
    let mut headers = vec![(header::RANGE, range_header(&range))];
    headers.extend(condition(version));
    let answer = send(store, "get", key, (Method::GET, &url), &headers, Some(version)).await?;
    is_a_file(store, "get", key, &url, &answer)?;
    let Some(size) = size(&answer) else {
        let kind = StoreErrorKind::Unsupported("files whose size the server does not tell".to_owned());
        return Err(store.error("get", key, kind));
    };
    let found = meta(key, size, &answer);
    if found.version != *version {
        let kind = StoreErrorKind::Changed { expected: version.clone(), found: found.version.to_string() };
        return Err(store.error("get", key, kind));
    }
    if !within(&range, size) {
        return Err(store.error("get", key, StoreErrorKind::RangeNotSatisfiable));
    }
    let served = match (answer.status, answer.text(header::CONTENT_RANGE)) {
        (StatusCode::PARTIAL_CONTENT, Some(text)) => parse_content_range(text).map(|(served, _)| served),
        // A server without ranges sends the whole.
        (StatusCode::OK, None) => Some(0..size),
        _ => None,
    };
    let Some(served) = served.filter(|served| served.start <= range.start && range.end <= served.end) else {
        let text = format!("HTTP {} without the range {}", answer.status, range_header(&range));
        return Err(store.error("get", key, StoreErrorKind::Protocol(text)));
    };
    let (id, owned, expected) = (store.id.clone(), key.to_owned(), range.end - range.start);
    let error = move |kind| StoreError::new(&id, "get", &owned, kind);
    let body = chunks(store, key, answer.body, expected);
    // A body that is longer than needed is cut; one that is as long as asked for must end there.
    let body = if served == range { body } else { cut(body, range.start - served.start, expected) };
    Ok(GetStream { meta: found, checksum: None, body: exact(body, expected, error) })
}
