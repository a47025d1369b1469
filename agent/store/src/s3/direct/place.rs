use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_smithy_types::Document;
use futures::FutureExt as _;
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::S3Config;

/// What stands in a path as it is: RFC 3986's unreserved characters, and the slash.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Where a bucket's objects are, and for which region requests to them are signed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Scheme and authority, for the connection.
    pub(super) origin: Uri,
    pub(super) host: HeaderValue,
    pub(super) region: String,
    /// Path of the bucket without a trailing slash.
    base: String,
}

impl Place {
    /// As the SDK resolves it. `None` where requests need more than a signature of version 4 for `s3` (directory buckets'
    /// sessions, access points of many regions) or the SDK finds no address; the SDK then sends them or says why not.
    pub(super) fn of(config: &S3Config) -> Option<Self> {
        let params = Params::builder()
            .bucket(&config.bucket)
            .region(config.region())
            .force_path_style(config.path_style())
            .set_endpoint(config.endpoint_url())
            .build()
            .ok()?;
        let endpoint = ResolveEndpoint::resolve_endpoint(&DefaultResolver::new(), &params).now_or_never()?.ok()?;
        let scheme = endpoint.auth_schemes().first()?;
        let word = |name: &str| scheme.get(name).and_then(Document::as_string);
        if scheme.name() != "sigv4" || word("signingName") != Some("s3") || endpoint.headers().next().is_some() {
            return None;
        }
        let region = word("signingRegion")?.to_owned();
        let url: Uri = endpoint.url().parse().ok()?;
        let authority = url.authority()?;
        let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let host = match authority.port_u16() {
            Some(port) if port != default => authority.as_str(),
            _ => authority.host(),
        };
        let host = HeaderValue::from_str(host).ok()?;
        let base = url.path().trim_end_matches('/').to_owned();
        let origin =
            Uri::builder().scheme(url.scheme()?.clone()).authority(authority.clone()).path_and_query("/").build().ok()?;
        Some(Self { origin, host, region, base })
    }

    /// The path of a request for a key of the bucket.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}/{}", self.base, utf8_percent_encode(key, ESCAPED))
    }
}
