//! What the way of GETs beside the SDK promises as the SDK does: connections, the clock, whom a request is signed as.

use std::time::{Duration, SystemTime};

use forebay_store::s3::{S3Config, S3Credentials, S3Store};
use forebay_store::{StoreErrorKind, UnderStore, Version};

use crate::behaviour::read;
use crate::raw::Server;

fn store(server: &Server, credentials: S3Credentials) -> S3Store {
    S3Store::new(S3Config { endpoint: Some(server.endpoint()), credentials, ..S3Config::new("bkt") }).unwrap()
}

fn keys(token: Option<&str>) -> S3Credentials {
    S3Credentials::Static {
        access_key_id: "id".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: token.map(str::to_owned),
    }
}

fn version() -> Version {
    Version::ETag("\"v1\"".into())
}

const OBJECT: &str = "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nabc";

async fn is_read(store: &S3Store) {
    assert_eq!(read(store, "k", &version(), 0..3).await, Ok(b"abc".to_vec()));
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let error = "HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\n\r\n<Error><Code>AccessDenied</Code></Error>";
    let server = Server::keeping(move |_, number| Some(if number == 1 { error } else { OBJECT }.to_owned()));
    let store = store(&server, keys(None));
    is_read(&store).await;
    // An error answer that is read to its end costs no connection either.
    assert_eq!(read(&store, "k", &version(), 0..3).await, Err(StoreErrorKind::Denied));
    for _ in 0..3 {
        is_read(&store).await;
    }
    assert_eq!(server.connections(), 1);
}

/// A store closes what is idle whenever it likes: before the next request is sent, or when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_store_closed_fails_no_read() {
    let server = Server::keeping(|_, number| (number == 0).then(|| OBJECT.to_owned()));
    let at_request = store(&server, keys(None));
    let server = Server::start(|_| OBJECT.to_owned());
    let at_once = store(&server, keys(None));
    let server_of_both = Server::keeping(|_, number| (number < 2).then(|| OBJECT.to_owned()));
    let mixed = store(&server_of_both, keys(None));
    for store in [&at_request, &at_once, &mixed] {
        for _ in 0..5 {
            is_read(store).await;
        }
    }
    assert_eq!((server.connections(), server_of_both.connections()), (5, 3));
}

/// A body that nobody reads to its end must not be taken for the next answer's.
#[tokio::test(flavor = "multi_thread")]
async fn an_unread_body_is_no_answer_to_the_next_request() {
    let server = Server::keeping(|_, _| Some(OBJECT.to_owned()));
    let store = store(&server, keys(None));
    for _ in 0..3 {
        drop(store.get("k", &version(), 0..3).await.unwrap());
        is_read(&store).await;
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_put_right() {
    let ahead = Duration::from_secs(3 * 3600);
    let server = Server::keeping(move |head, _| {
        let theirs = httpdate::fmt_http_date(SystemTime::now() + ahead);
        // Times in a signature read `20260101T120000Z`; the hour is enough to tell.
        let signed = header(head, "x-amz-date")?;
        let right = [0, 1].iter().any(|minutes| {
            let then = SystemTime::now() + ahead - Duration::from_secs(60 * minutes);
            let iso = aws_smithy_types::DateTime::from(then).fmt(aws_smithy_types::date_time::Format::DateTime).ok();
            iso.is_some_and(|iso| iso.replace(['-', ':'], "")[..13] == signed[..13])
        });
        let object = OBJECT.replacen("\r\n", &format!("\r\nDate: {theirs}\r\n"), 1);
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>";
        let refused = format!("HTTP/1.1 403 Forbidden\r\nDate: {theirs}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Some(if right { object } else { refused })
    });
    let store = store(&server, keys(None));
    is_read(&store).await;
    is_read(&store).await;
    // A store whose own time is right refuses for another reason, once.
    let refusing = Server::keeping(|_, number| {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let body = "<Error><Code>SignatureDoesNotMatch</Code></Error>";
        (number == 0).then(|| format!("HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let store = self::store(&refusing, keys(None));
    assert_eq!(read(&store, "k", &version(), 0..3).await, Err(StoreErrorKind::Denied));
    assert_eq!(refusing.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_say_who_asks() {
    let server = Server::keeping(|head, _| {
        let (signed, token) = (header(head, "authorization"), header(head, "x-amz-security-token"));
        let whole = match (header(head, "range").as_deref(), header(head, "if-match").as_deref()) {
            (Some("bytes=0-2"), Some("\"v1\"")) => head.starts_with("GET /bkt/k HTTP/1.1\r\n"),
            _ => false,
        };
        let who = match (signed, token.as_deref()) {
            (None, None) => "anonymous",
            (Some(signed), None) if signed.contains("Credential=id/") => "id",
            (Some(signed), Some("t0ken")) if signed.contains("x-amz-security-token") => "id with t0ken",
            _ => "unknown",
        };
        let body = format!("<Error><Code>AccessDenied</Code><Message>you are {who}, {whole}</Message></Error>");
        Some(format!("HTTP/1.1 403 Forbidden\r\nx-amz-request-id: r1\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let store = store(&server, S3Credentials::Anonymous);
    for (credentials, who) in
        [(S3Credentials::Anonymous, "anonymous"), (keys(None), "id"), (keys(Some("t0ken")), "id with t0ken")]
    {
        store.set_credentials(&credentials);
        let error = store.get("k", &version(), 0..3).await.unwrap_err().to_string();
        assert!(error.contains(&format!("HTTP 403 AccessDenied you are {who}, true; request id r1")), "{error}");
    }
}
