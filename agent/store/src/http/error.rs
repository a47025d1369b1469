use std::error::Error;

use ::http::{HeaderMap, StatusCode, header};

use crate::error::with_causes;
use crate::{StoreErrorKind, Version};

/// What an answer that is no success means. `expected` is the version that the request was bound to.
pub(super) fn of_status(status: StatusCode, headers: &HeaderMap, expected: Option<&Version>) -> StoreErrorKind {
    match status.as_u16() {
        401 | 403 | 407 => StoreErrorKind::Denied,
        404 | 410 => StoreErrorKind::NotFound,
        408 => StoreErrorKind::Timeout,
        412 => match expected {
            Some(expected) => StoreErrorKind::Changed { expected: expected.clone(), found: "unknown".to_owned() },
            None => StoreErrorKind::Protocol("HTTP 412 without a condition".to_owned()),
        },
        416 => StoreErrorKind::RangeNotSatisfiable,
        429 => StoreErrorKind::Throttled,
        405 | 501 => StoreErrorKind::Unsupported("the server does not implement the request".to_owned()),
        503 if headers.contains_key(header::RETRY_AFTER) => StoreErrorKind::Throttled,
        500..=599 => StoreErrorKind::Unavailable,
        status => StoreErrorKind::Protocol(format!("HTTP {status}")),
    }
}

/// What a request that got no answer means.
pub(super) fn of_transport(error: &opendal::Error) -> StoreErrorKind {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<reqwest::Error>() {
            if cause.is_timeout() {
                return StoreErrorKind::Timeout;
            }
            if cause.is_redirect() {
                return StoreErrorKind::Protocol("redirected in a circle or too often".to_owned());
            }
        }
        next = cause.source();
    }
    if error.is_temporary() {
        return StoreErrorKind::Unavailable;
    }
    match error.kind() {
        opendal::ErrorKind::ConfigInvalid => StoreErrorKind::Config(error.message().to_owned()),
        _ => StoreErrorKind::Unavailable,
    }
}

/// The library's words with all that lies below them, on one line.
pub(super) fn words(error: &opendal::Error) -> String {
    with_causes(error.message().to_owned(), error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_map_to_what_the_caller_can_do() {
        use StoreErrorKind::{Denied, NotFound, RangeNotSatisfiable, Throttled, Timeout, Unavailable};
        let of = |status: u16, headers: &HeaderMap| of_status(StatusCode::from_u16(status).unwrap_or_default(), headers, None);
        let none = HeaderMap::new();
        for (status, want) in [
            (401, Denied),
            (403, Denied),
            (404, NotFound),
            (410, NotFound),
            (408, Timeout),
            (416, RangeNotSatisfiable),
            (429, Throttled),
            (500, Unavailable),
            (503, Unavailable),
            (504, Unavailable),
        ] {
            assert_eq!(of(status, &none), want, "{status}");
        }
        let mut later = HeaderMap::new();
        later.insert(header::RETRY_AFTER, ::http::HeaderValue::from_static("5"));
        assert_eq!(of(503, &later), Throttled);
        assert!(matches!(of(405, &none), StoreErrorKind::Unsupported(_)));
        assert!(matches!(of(418, &none), StoreErrorKind::Protocol(_)));
        let version = Version::Modified(1);
        let changed = of_status(StatusCode::PRECONDITION_FAILED, &none, Some(&version));
        assert!(matches!(changed, StoreErrorKind::Changed { .. }));
    }
}
