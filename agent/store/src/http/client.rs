use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};
use opendal::raw::oio::ReadStream;
use opendal::{Buffer, HttpBody, HttpRedirect, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::Url;

use super::{HttpStore, error};
use crate::{ByteStream, StoreErrorKind, StoreResult, Version};

/// A connection that is not there within this is reported as unreachable, whatever the request's own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;

#[derive(Clone, Debug)]
pub(super) struct Client(ReqwestTransport);

/// An answer that is a success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where redirects led, if anywhere.
    pub(super) redirected: Option<Url>,
    pub(super) body: HttpBody,
}

impl Client {
    pub(super) fn new(ca_pem: Option<&[u8]>) -> Result<Self, String> {
        // reqwest takes the process's default provider; an error only says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| format!("ca: {error}"))?;
            if certificates.is_empty() {
                return Err("ca: no PEM certificate in it".to_owned());
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| format!("the HTTP client cannot be built: {error}"))?;
        Ok(Self(ReqwestTransport::new(client)))
    }
}

/// One request. An answer that is no success is an error; `expected` is the version that the headers bind it to.
pub(super) async fn send(
    store: &HttpStore,
    operation: &'static str,
    key: &str,
    (method, url): (Method, &Url),
    headers: &[(HeaderName, String)],
    expected: Option<&Version>,
) -> StoreResult<Answer> {
    let invalid = |error: &dyn std::fmt::Display| {
        store.error(operation, key, StoreErrorKind::Config(format!("the request cannot be built: {error}")))
    };
    let mut request = Request::builder().method(method).uri(url.as_str()).header(header::ACCEPT_ENCODING, "identity");
    for (name, value) in &store.headers {
        request = request.header(name, value);
    }
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|error| invalid(&error))?;
        request = request.header(name, value);
    }
    let auth = store.auth.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    if let Some(auth) = auth {
        request = request.header(header::AUTHORIZATION, auth);
    }
    let request = request.body(Buffer::new()).map_err(|error| invalid(&error))?;
    let answer = store
        .client
        .0
        .fetch(request)
        .await
        .map_err(|failed| store.error(operation, key, error::of_transport(&failed)).with_cause(error::words(&failed)))?;
    let (parts, body) = answer.into_parts();
    if !parts.status.is_success() {
        let kind = error::of_status(parts.status, &parts.headers, expected);
        return Err(store.error(operation, key, kind).with_cause(format!("{url}: HTTP {}", parts.status)));
    }
    let encoding = parts.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let text = format!("the server insists on Content-Encoding: {encoding}; turn it off for these files");
        return Err(store.error(operation, key, StoreErrorKind::Unsupported(text)));
    }
    let redirected = parts.extensions.get::<HttpRedirect>().and_then(|target| Url::parse(target.uri().original_uri()).ok());
    Ok(Answer { status: parts.status, headers: parts.headers, redirected, body })
}

impl Answer {
    pub(super) fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether a directory answered in place of a file, by adding the slash.
    pub(super) fn is_directory(&self, asked: &Url) -> bool {
        self.redirected.as_ref().is_some_and(|target| target.path().ends_with('/') && !asked.path().ends_with('/'))
    }
}

/// The body's chunks. A connection that breaks ends them with `Truncated`; what it is of, the caller knows.
pub(super) fn chunks(store: &HttpStore, key: &str, body: HttpBody, expected: u64) -> ByteStream {
    let (id, key) = (store.id.clone(), key.to_owned());
    stream::unfold((Some(body), 0u64), move |(body, got)| {
        let (id, key) = (id.clone(), key.clone());
        async move {
            let mut body = body?;
            match body.read().await {
                Ok(chunk) if chunk.is_empty() => None,
                Ok(chunk) => {
                    let chunk: Bytes = chunk.to_bytes();
                    let got = got + chunk.len() as u64;
                    Some((Ok(chunk), (Some(body), got)))
                }
                Err(failed) => {
                    let kind = StoreErrorKind::Truncated { got, expected };
                    let error = crate::StoreError::new(&id, "get", &key, kind).with_cause(error::words(&failed));
                    Some((Err(error), (None, got)))
                }
            }
        }
    })
    .boxed()
}

/// The whole body, if it is not longer than `limit`; else the text of an error.
pub(super) async fn small(store: &HttpStore, key: &str, mut body: HttpBody, limit: usize) -> StoreResult<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let chunk = body
            .read()
            .await
            .map_err(|failed| store.error("list", key, error::of_transport(&failed)).with_cause(error::words(&failed)))?;
        if chunk.is_empty() {
            return Ok(all);
        }
        if all.len() + chunk.len() > limit {
            let text = format!("a listing of more than {} MiB; split it into directories", limit >> 20);
            return Err(store.error("list", key, StoreErrorKind::Unsupported(text)));
        }
        all.extend_from_slice(&chunk.to_bytes());
    }
}
