use std::ops::Range;
use std::sync::atomic::Ordering;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use futures::{StreamExt, stream};

use super::S3Store;
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
    let out = got?;
    let length = out.content_length().and_then(|length| u64::try_from(length).ok());
    let (served, size) = match out.content_range().map(parse_content_range) {
        Some(Some((served, Some(size)))) => (served, size),
        // The whole object in answer to a range: right only when the range is the whole.
        None if length == Some(range.end) && range.start == 0 => (range.clone(), range.end),
        None => return Err(error(StoreErrorKind::Unsupported("ranges; the store sends whole objects".to_owned()))),
        Some(_) => {
            let text = format!("Content-Range {:?}", out.content_range().unwrap_or_default());
            return Err(error(StoreErrorKind::Protocol(text)));
        }
    };
    let mtime_ns = mtime_ns(out.last_modified());
    let same = match version {
        Version::ETag(tag) => strong(out.e_tag()).as_deref() == Some(tag),
        Version::Modified(ns) => *ns == mtime_ns,
    };
    if !same {
        let found = match out.e_tag() {
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
    let checksum = checksum(store, version, &out);
    Ok(GetStream { meta, checksum, body: body(&store.id, key, out.body, range.end - range.start) })
}

async fn request(
    store: &S3Store,
    key: &str,
    version: &Version,
    range: &Range<u64>,
    conditional: bool,
) -> StoreResult<GetObjectOutput> {
    let mut call = store.client().get_object().bucket(&store.bucket).key(locate(store, "get", key)?).range(header(range));
    let mut ask_checksum = false;
    if let Version::ETag(tag) = version {
        if conditional {
            call = call.if_match(tag.to_string());
        }
        // Worth asking only where the tag is none, and for a range that may be the whole object. The SDK's own switch
        // would make it verify too; and vendors that do not know the header see it for multipart objects only.
        ask_checksum = md5(tag).is_none() && range.start == 0;
    }
    let sent = if ask_checksum {
        let with_header = call.customize().mutate_request(|request| {
            request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        });
        with_header.send().await
    } else {
        call.send().await
    };
    sent.map_err(|failed| from_sdk(&store.id, "get", key, Some(version), failed))
}

fn checksum(store: &S3Store, version: &Version, out: &GetObjectOutput) -> Option<Checksum> {
    if let Some(checksum) = out.checksum_crc32_c().and_then(crc32c) {
        return Some(checksum);
    }
    let plain_encryption = matches!(out.server_side_encryption(), None | Some(ServerSideEncryption::Aes256));
    let directory_bucket = store.bucket.ends_with("--x-s3");
    let is_md5 = store.verify_md5 && plain_encryption && out.sse_customer_algorithm().is_none() && !directory_bucket;
    match version {
        Version::ETag(tag) if is_md5 => md5(tag).map(Checksum::Md5),
        _ => None,
    }
}

fn body(id: &StoreId, key: &str, body: aws_sdk_s3::primitives::ByteStream, expected: u64) -> ByteStream {
    let (id, key) = (id.clone(), key.to_owned());
    let error = move |kind| StoreError::new(&id, "get", &key, kind);
    let broken = error.clone();
    let chunks = stream::unfold((body, 0u64), move |(mut body, got)| {
        let broken = broken.clone();
        async move {
            match body.next().await? {
                Ok(chunk) => {
                    let got = got + chunk.len() as u64;
                    Some((Ok(chunk), (body, got)))
                }
                Err(failed) => {
                    let cause = aws_sdk_s3::error::DisplayErrorContext(&failed).to_string();
                    Some((Err(broken(StoreErrorKind::Truncated { got, expected }).with_cause(cause)), (body, got)))
                }
            }
        }
    });
    exact(chunks.boxed(), expected, error)
}
