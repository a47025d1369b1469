//! What keys, entity tags and times mean: pure translations between S3's words and ours.

use aws_sdk_s3::primitives::DateTime;
use percent_encoding::percent_decode;

use crate::{Checksum, Version};

/// The mount's root inside the bucket: empty, or ends with `/`.
#[derive(Clone, Debug)]
pub(super) struct Root(String);

impl Root {
    pub(super) fn new(prefix: &str) -> Self {
        match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => Self(String::new()),
            prefix => Self(format!("{prefix}/")),
        }
    }

    /// The bucket's key of an object of ours; `None` for what is no key. MinIO would take `/a` for `a`.
    pub(super) fn object(&self, key: &str) -> Option<String> {
        (!key.is_empty() && !key.starts_with('/')).then(|| self.prefix(key))
    }

    /// The bucket's prefix of a listing's.
    pub(super) fn prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.0)
    }

    /// Our key of the bucket's; `None` for one outside the root.
    pub(super) fn relative<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.0)
    }
}

/// Decodes a key of a listing with `EncodingType: url`: percent escapes, and `+` for a space. `Err` holds the key with
/// its bad parts replaced when it is not UTF-8.
pub(super) fn url_decoded(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let bytes: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    String::from_utf8(bytes).map_err(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The tag with its quotes if it is strong, else `None`.
pub(super) fn strong(etag: Option<&str>) -> Option<String> {
    let tag = etag?.trim();
    let bare = tag.trim_matches('"');
    if bare.is_empty() || tag.starts_with("W/") {
        return None;
    }
    Some(format!("\"{bare}\""))
}

/// Whole seconds, as nanoseconds; 0 when the store gives no time.
pub(super) fn mtime_ns(time: Option<&DateTime>) -> i64 {
    time.map_or(0, |time| time.secs().saturating_mul(1_000_000_000))
}

/// The strongest version that tag and time give.
pub(super) fn version(etag: Option<&str>, mtime_ns: i64) -> Version {
    strong(etag).map_or(Version::Modified(mtime_ns), |tag| Version::ETag(tag.into()))
}

/// The MD5 that a plain tag is; `None` for a multipart upload's (`-N`) and for anything that is not 32 hex digits.
pub fn md5(etag: &str) -> Option<[u8; 16]> {
    let bare = etag.trim_matches('"');
    if bare.len() != 32 || !bare.is_ascii() {
        return None;
    }
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(bare.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// The checksum in `x-amz-checksum-crc32c`: base64 of four bytes. A composite one (`...-N`) covers parts and is none.
pub(super) fn crc32c(header: &str) -> Option<Checksum> {
    if header.len() != 8 {
        return None;
    }
    let bytes = aws_smithy_types::base64::decode(header).ok()?;
    Some(Checksum::Crc32c(u32::from_be_bytes(bytes.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
