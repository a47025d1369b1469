use super::*;

fn of(operation: &'static str, status: u16, code: &str) -> StoreErrorKind {
    kind(Answer { operation, status, code, ..Answer::default() })
}

#[test]
fn answers_map_to_what_the_caller_can_do() {
    use StoreErrorKind::{Denied, NoSuchContainer, NotFound, RangeNotSatisfiable, Throttled, Timeout, Unavailable};
    for (operation, status, code, want) in [
        ("list", 404, "NoSuchBucket", NoSuchContainer),
        ("get", 404, "NoSuchBucket", NoSuchContainer),
        ("list", 404, "", NoSuchContainer),
        ("get", 404, "NoSuchKey", NotFound),
        ("head", 404, "", NotFound),
        ("head", 403, "", Denied),
        ("get", 401, "", Denied),
        ("get", 403, "SignatureDoesNotMatch", Denied),
        ("get", 403, "RequestTimeTooSkewed", Denied),
        ("list", 400, "ExpiredToken", Denied),
        ("list", 404, "XAdminUserNotFound", Denied),
        ("get", 416, "InvalidRange", RangeNotSatisfiable),
        ("get", 503, "SlowDown", Throttled),
        ("get", 503, "SlowDownRead", Throttled),
        ("get", 429, "", Throttled),
        ("get", 503, "ServiceUnavailable", Unavailable),
        ("get", 500, "InternalError", Unavailable),
        ("get", 502, "", Unavailable),
        ("get", 400, "RequestTimeout", Timeout),
        ("get", 408, "", Timeout),
    ] {
        assert_eq!(of(operation, status, code), want, "{operation} {status} {code}");
    }
    assert!(matches!(of("get", 501, "NotImplemented"), StoreErrorKind::Unsupported(_)));
    assert!(matches!(of("get", 403, "InvalidObjectState"), StoreErrorKind::Unsupported(_)));
    assert!(matches!(of("get", 418, ""), StoreErrorKind::Protocol(_)));
    assert!(matches!(of("get", 412, ""), StoreErrorKind::Protocol(_)));
    let version = Version::Modified(1);
    let changed = kind(Answer { operation: "get", status: 412, expected: Some(&version), ..Answer::default() });
    assert!(matches!(changed, StoreErrorKind::Changed { .. }));
}

#[test]
fn a_wrong_region_names_the_right_one() {
    let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-de'";
    let in_body = Answer { status: 400, code: "AuthorizationHeaderMalformed", message, ..Answer::default() };
    let in_header = Answer { operation: "head", status: 400, region: Some("eu-de"), ..Answer::default() };
    let redirect = Answer { status: 301, code: "PermanentRedirect", region: Some("eu-de"), ..Answer::default() };
    for answer in [in_body, in_header, redirect] {
        let StoreErrorKind::Config(text) = kind(answer) else { panic!("{answer:?}") };
        assert!(text.contains("option region to eu-de"), "{text}");
    }
    assert!(matches!(of("list", 307, ""), StoreErrorKind::Config(_)));
}
