use std::ops::Range;
use std::sync::atomic::Ordering;

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat as Format};
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::HeaderMap;

use super::S3Store;
use super::direct::{self, Asked};
use super::error::from_sdk;
use super::key::{crc32c, md5, mtime_ns, strong, version as version_of};
use crate::range::{exact, header, parse_content_range, within};
use crate::{ByteStream, Checksum, GetStream, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, Version};

pub(super) async fn head(store: &S3Store, key: &str) -> StoreResult<ObjectMeta> {
    let full = locate(store, "head", key)?;
    let out = match store.client().head_object().bucket(&store.bucket).key(full).send().await {
        Ok(out) => out,
        Err(failed) => {
            let mut error = from_sdk(&store.id, "head", key, None, failed);
            if error.kind == StoreErrorKind::NotFound {
                error.kind = why_not_found(store, key).await;
            }
            return Err(error);
        }
    };
    let Some(size) = out.content_length().and_then(|size| u64::try_from(size).ok()) else {
        let kind = StoreErrorKind::Protocol("an answer without Content-Length".to_owned());
        return Err(StoreError::new(&store.id, "head", key, kind));
    };
    let mtime_ns = mtime_ns(out.last_modified());
    Ok(ObjectMeta { key: key.to_owned(), size, mtime_ns, version: version_of(out.e_tag(), mtime_ns) })
}

fn locate(store: &S3Store, operation: &'static str, key: &str) -> StoreResult<String> {
    store.root.object(key).ok_or_else(|| StoreError::new(&store.id, operation, key, StoreErrorKind::NotFound))
}

/// A HEAD has no body to tell a missing bucket or an unknown user from a missing key, so the bucket is asked for what a
/// mount must be able to do anyway: list its root. Anything but those two answers leaves the key missing.
async fn why_not_found(store: &S3Store, key: &str) -> StoreErrorKind {
    let call = store.client().list_objects_v2().bucket(&store.bucket).prefix(store.root.prefix("")).max_keys(1);
    let Err(failed) = call.send().await else { return StoreErrorKind::NotFound };
    match from_sdk(&store.id, "list", key, None, failed).kind {
        kind @ (StoreErrorKind::NoSuchContainer | StoreErrorKind::Denied) => kind,
        _ => StoreErrorKind::NotFound,
    }
}

/// A successful answer, by whichever way it came.
struct Got {
    length: Option<u64>,
    content_range: Option<String>,
    etag: Option<String>,
    modified: Option<DateTime>,
    checksum: Option<Checksum>,
    /// Encrypted by none but the store's own keys, so that the tag may be an MD5.
    plain: bool,
    /// The bytes; a failure is told in the library's words.
    body: BoxStream<'static, Result<Bytes, String>>,
}

pub(super) async fn get(store: &S3Store, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
    let error = |kind| StoreError::new(&store.id, "get", key, kind);
    if range.start >= range.end {
        return Err(error(StoreErrorKind::RangeNotSatisfiable));
    }
    let conditional = store.if_match.load(Ordering::Relaxed);
    let mut got = request(store, key, version, &range, conditional).await;
    if conditional && got.as_ref().is_err_and(|error| matches!(error.kind, StoreErrorKind::Unsupported(_))) {
        got = request(store, key, version, &range, false).await;
        // Only a success without the header proves that the header was the reason.
        if got.is_ok() {
            store.if_match.store(false, Ordering::Relaxed);
        }
    }
    let got = got?;
    let (served, size) = match got.content_range.as_deref().map(parse_content_range) {
        Some(Some((served, Some(size)))) => (served, size),
        // The whole object in answer to a range: right only when the range is the whole.
        None if got.length == Some(range.end) && range.start == 0 => (range.clone(), range.end),
        None => return Err(error(StoreErrorKind::Unsupported("ranges; the store sends whole objects".to_owned()))),
        Some(_) => {
            let text = format!("Content-Range {:?}", got.content_range.unwrap_or_default());
            return Err(error(StoreErrorKind::Protocol(text)));
        }
    };
    let mtime_ns = mtime_ns(got.modified.as_ref());
    let same = match version {
        Version::ETag(tag) => strong(got.etag.as_deref()).as_deref() == Some(tag),
        Version::Modified(ns) => *ns == mtime_ns,
    };
    if !same {
        let found = match got.etag.as_deref() {
            None => "unknown".to_owned(),
            tag => version_of(tag, mtime_ns).to_string(),
        };
        return Err(error(StoreErrorKind::Changed { expected: version.clone(), found }));
    }
    if !within(&range, size) {
        return Err(error(StoreErrorKind::RangeNotSatisfiable));
    }
    if served != range {
        let text = format!("bytes {}-{} in answer to {}", served.start, served.end - 1, header(&range));
        return Err(error(StoreErrorKind::Protocol(text)));
    }
    let meta = ObjectMeta { key: key.to_owned(), size, mtime_ns, version: version.clone() };
    let checksum = checksum(store, version, &got);
    Ok(GetStream { meta, checksum, body: body(&store.id, key, got.body, range.end - range.start) })
}

async fn request(store: &S3Store, key: &str, version: &Version, range: &Range<u64>, conditional: bool) -> StoreResult<Got> {
    let full = locate(store, "get", key)?;
    let tag = match version {
        Version::ETag(tag) => Some(&**tag),
        Version::Modified(_) => None,
    };
    // Worth asking only where the tag is none, and for a range that may be the whole object. The SDK's own switch
    // would make it verify too; and vendors that do not know the header see it for multipart objects only.
    let ask_checksum = tag.is_some_and(|tag| md5(tag).is_none()) && range.start == 0;
    let asked = Asked { key: &full, range, if_match: tag.filter(|_| conditional), ask_checksum, version };
    match &store.direct {
        Some(direct) => {
            let got = direct.get(&asked, store.identities().as_ref()).await;
            let (headers, body) =
                got.map_err(|failed| StoreError::new(&store.id, "get", key, failed.kind).with_cause(failed.cause))?;
            Ok(Got::direct(&headers, body))
        }
        None => by_sdk(store, key, &asked).await,
    }
}

async fn by_sdk(store: &S3Store, key: &str, asked: &Asked<'_>) -> StoreResult<Got> {
    let call = store.client().get_object().bucket(&store.bucket).key(asked.key).range(header(asked.range));
    let call = call.set_if_match(asked.if_match.map(str::to_owned));
    let sent = if asked.ask_checksum {
        let with_header = call.customize().mutate_request(|request| {
            request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        });
        with_header.send().await
    } else {
        call.send().await
    };
    let out = sent.map_err(|failed| from_sdk(&store.id, "get", key, Some(asked.version), failed))?;
    let plain = matches!(out.server_side_encryption(), None | Some(ServerSideEncryption::Aes256));
    let chunks = stream::unfold(out.body, |mut body| async move {
        let chunk = body.next().await?;
        Some((chunk.map_err(|failed| DisplayErrorContext(&failed).to_string()), body))
    });
    Ok(Got {
        length: out.content_length.and_then(|length| u64::try_from(length).ok()),
        checksum: out.checksum_crc32_c.as_deref().and_then(crc32c),
        plain: plain && out.sse_customer_algorithm.is_none(),
        content_range: out.content_range,
        etag: out.e_tag,
        modified: out.last_modified,
        body: chunks.boxed(),
    })
}

impl Got {
    fn direct(headers: &HeaderMap, body: direct::Body) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let encryption = text("x-amz-server-side-encryption");
        Self {
            length: text("content-length").and_then(|length| length.parse().ok()),
            content_range: text("content-range").map(str::to_owned),
            etag: text("etag").map(str::to_owned),
            modified: text("last-modified").and_then(|time| DateTime::from_str(time, Format::HttpDate).ok()),
            checksum: text("x-amz-checksum-crc32c").and_then(crc32c),
            plain: matches!(encryption, None | Some("AES256"))
                && text("x-amz-server-side-encryption-customer-algorithm").is_none(),
            body: body.map(|chunk| chunk.map_err(|failed| direct::words(&failed))).boxed(),
        }
    }
}

fn checksum(store: &S3Store, version: &Version, got: &Got) -> Option<Checksum> {
    if got.checksum.is_some() {
        return got.checksum;
    }
    let directory_bucket = store.bucket.ends_with("--x-s3");
    let is_md5 = store.verify_md5 && got.plain && !directory_bucket;
    match version {
        Version::ETag(tag) if is_md5 => md5(tag).map(Checksum::Md5),
        _ => None,
    }
}

fn body(id: &StoreId, key: &str, body: BoxStream<'static, Result<Bytes, String>>, expected: u64) -> ByteStream {
    let (id, key) = (id.clone(), key.to_owned());
    let error = move |kind| StoreError::new(&id, "get", &key, kind);
    let broken = error.clone();
    let mut got = 0u64;
    let chunks = body.map(move |chunk| match chunk {
        Ok(chunk) => {
            got += chunk.len() as u64;
            Ok(chunk)
        }
        Err(cause) => Err(broken(StoreErrorKind::Truncated { got, expected }).with_cause(cause)),
    });
    exact(chunks.boxed(), expected, error)
}
