//! Ranged GETs as cold reads need them, beside the SDK, whose orchestrator took more than half of the client's processor time for
//! a small object (ADR 0013). The SDK still finds the address and the credentials; what it does around a request beyond that -
//! connections that are used again, the store's clock, the reading of error answers - is here.

mod clock;
mod connection;
mod place;
mod pool;
mod sign;

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::Empty;

pub(super) use self::connection::Body;
use self::place::Place;
use self::pool::Pool;
use super::S3Config;
use super::error::{self, Answer};
use super::identity::Identities;
use crate::range::header as range_header;
use crate::{StoreErrorKind, Version};

/// Of an error answer's body, no more is read.
const ERROR_BODY: usize = 64 << 10;

/// What a GET is to say.
pub(super) struct Asked<'a> {
    /// The bucket's key.
    pub(super) key: &'a str,
    pub(super) range: &'a Range<u64>,
    /// The tag for `If-Match`.
    pub(super) if_match: Option<&'a str>,
    pub(super) ask_checksum: bool,
    /// The version wanted, for errors.
    pub(super) version: &'a Version,
}

/// Why there is no answer to use.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: StoreErrorKind,
    pub(super) cause: String,
}

/// A bucket's door for GETs.
pub(super) struct Direct {
    place: Place,
    pool: Arc<Pool>,
    clock: clock::Clock,
}

impl Direct {
    /// `None` where requests need what only the SDK does; see [`Place::of`].
    pub(super) fn new(config: &S3Config) -> Result<Option<Self>, String> {
        let Some(place) = Place::of(config) else { return Ok(None) };
        let pool = Arc::new(Pool::new(place.origin.clone(), config.ca_pem.as_deref())?);
        Ok(Some(Self { place, pool, clock: clock::Clock::default() }))
    }

    /// The head of a successful answer and its body. Without identities, the request is not signed.
    pub(super) async fn get(&self, asked: &Asked<'_>, identities: Option<&Identities>) -> Result<(HeaderMap, Body), Failed> {
        let identity = match identities {
            None => None,
            Some(identities) => Some(
                identities.identity().await.map_err(|failed| Failed { kind: StoreErrorKind::Denied, cause: words(&failed) })?,
            ),
        };
        let mut again = identity.is_some();
        loop {
            let signed = self.clock.now();
            let request = self.request(asked, identity.as_ref(), signed).map_err(invalid)?;
            let sent = SystemTime::now();
            let (answer, body) = self.send(request).await?;
            self.clock.learn(&answer.headers, sent);
            if answer.status.is_success() {
                return Ok((answer.headers, body));
            }
            let text = beginning(body).await;
            let (code, message) = error::in_body(&text);
            if std::mem::take(&mut again) && self.clock.was_wrong(&code, signed) {
                continue;
            }
            let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
            let answer = Answer {
                operation: "get",
                status: answer.status.as_u16(),
                code: &code,
                message: &message,
                region: header("x-amz-bucket-region"),
                expected: Some(asked.version),
            };
            let (kind, cause) = error::told(answer, header("x-amz-request-id").or_else(|| header("x-obs-request-id")));
            return Err(Failed { kind, cause });
        }
    }

    fn request(&self, asked: &Asked<'_>, identity: Option<&Identity>, time: SystemTime) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.place.path(asked.key).parse().map_err(|error| format!("{error}"))?;
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| format!("{error}"));
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.place.host.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("forebay/", env!("CARGO_PKG_VERSION"))));
        headers.insert(header::RANGE, value(&range_header(asked.range))?);
        if let Some(tag) = asked.if_match {
            headers.insert(header::IF_MATCH, value(tag)?);
        }
        if asked.ask_checksum {
            headers.insert(HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static("ENABLED"));
        }
        if let Some(identity) = identity {
            sign::signed(&mut request, identity, &self.place.region, time)?;
        }
        Ok(request)
    }

    /// Sends over a connection that was used before, if there is one. The store may close such a one at any moment, so a
    /// failure before an answer says nothing, and the request, which changes nothing, is sent again over a new one.
    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<(http::response::Parts, Body), Failed> {
        let mut answer = None;
        if let Some(mut connection) = self.pool.take() {
            let got = connection.send(request.clone()).await;
            answer = got.ok().map(|got| (got, connection));
        }
        let (answer, connection) = match answer {
            Some(answer) => answer,
            None => {
                let mut connection = self.pool.connect().await?;
                let unavailable = |failed: hyper::Error| Failed { kind: StoreErrorKind::Unavailable, cause: words(&failed) };
                (connection.send(request).await.map_err(unavailable)?, connection)
            }
        };
        let (head, incoming) = Response::into_parts(answer);
        Ok((head, Body::new(incoming, connection, Arc::downgrade(&self.pool))))
    }
}

fn invalid(text: String) -> Failed {
    Failed { kind: StoreErrorKind::Config("the request cannot be built".to_owned()), cause: text }
}

/// What of an error answer's body came, up to a bound.
async fn beginning(mut body: Body) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        all.extend_from_slice(&chunk);
        if all.len() > ERROR_BODY {
            break;
        }
    }
    all
}

/// An error and its causes.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.extend([": ", &error.to_string()]);
        next = error.source();
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
