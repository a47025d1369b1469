//! What only HTTP has: one file, an index, credentials, servers' peculiarities.

use std::sync::Arc;

use forebay_store::http::{HttpAuth, HttpConfig, HttpStore};
use forebay_store::{StoreErrorKind, UnderStore, Version};

use crate::behaviour::{is_changed, list, read};
use crate::raw::Server;
use crate::stores::{Fixture, Rclone};

#[tokio::test(flavor = "multi_thread")]
async fn a_url_without_a_slash_is_one_file() {
    let server = Rclone::start();
    server.put("c", "some dir/a file", b"content").await;
    let url = |path: &str| HttpConfig::new(&format!("http://{}/{path}", server.address()));
    let store = HttpStore::new(url("c/some%20dir/a%20file")).unwrap();
    for recursive in [true, false] {
        assert_eq!(list(&store, "", recursive).await.unwrap().keys(), ["a file"]);
    }
    assert!(list(&store, "a file/", true).await.unwrap().keys().is_empty());
    let meta = store.head("a file").await.unwrap();
    assert_eq!(read(&store, "a file", &meta.version, 3..7).await, Ok(b"tent".to_vec()));
    assert_eq!(store.head("other").await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(list(&HttpStore::new(url("c/nope")).unwrap(), "", true).await.err().unwrap().kind, StoreErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_names_the_files() {
    let server = Rclone::start();
    for key in ["a", "b/c", "b/d/e", "unlisted"] {
        server.put("c", key, key.as_bytes()).await;
    }
    server.put("c", "index.txt", b"# files\n./a\nb/c\r\nb/d/e\ngone\n../../etc/passwd\n").await;
    let config = HttpConfig { index: Some("index.txt".into()), ..HttpConfig::new(&format!("http://{}/c/", server.address())) };
    for page_size in [1, 2, 100] {
        let store = HttpStore::new(HttpConfig { page_size, ..config.clone() }).unwrap();
        let flat = list(&store, "", true).await.unwrap();
        assert_eq!(flat.keys(), ["a", "b/c", "b/d/e"]);
        assert_eq!(flat.unrepresentable.len(), 1);
        assert_eq!(flat.unrepresentable[0].lossy, "../../etc/passwd");
        let level = list(&store, "b/", false).await.unwrap();
        assert_eq!((level.keys(), &level.prefixes[..]), (vec!["b/c"], &["b/d/".to_owned()][..]));
    }
    // A changed index is seen by the next listing.
    let store = HttpStore::new(config.clone()).unwrap();
    assert_eq!(list(&store, "", true).await.unwrap().keys().len(), 3);
    server.put("c", "index.txt", b"unlisted\n").await;
    assert_eq!(list(&store, "", true).await.unwrap().keys(), ["unlisted"]);
    let missing = HttpStore::new(HttpConfig { index: Some("nope.txt".into()), ..config }).unwrap();
    assert_eq!(list(&missing, "", true).await.err().unwrap().kind, StoreErrorKind::NoSuchContainer);
}

const FILE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"v1\"\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sent_and_can_be_replaced() {
    let server = Server::start(|request| {
        let allowed =
            request.contains("authorization: Basic dTpuZXc=\r\n") || request.contains("Authorization: Basic dTpuZXc=\r\n");
        if allowed { FILE.to_owned() } else { "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned() }
    });
    let auth = |password: &str| HttpAuth::Basic { user: "u".into(), password: password.into() };
    let store = HttpStore::new(HttpConfig { auth: auth("old"), ..HttpConfig::new(&server.url("d/")) }).unwrap();
    let error = store.head("k").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(!format!("{error} {error:?} {store:?}").contains("old"), "{error:?}");
    store.set_auth(&auth("new")).unwrap();
    assert_eq!(store.head("k").await.unwrap().version, Version::ETag("\"v1\"".into()));
    assert!(store.set_auth(&HttpAuth::Bearer { token: "\n".into() }).is_err());
    assert!(store.head("k").await.is_ok(), "the old credentials stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent_and_make_another_store() {
    let server = Server::start(|request| {
        let said = request.to_ascii_lowercase().contains("x-team: vision\r\n");
        if said { FILE.to_owned() } else { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned() }
    });
    let plain = HttpConfig::new(&server.url("d/"));
    let with = |value: &str| HttpConfig { headers: vec![("X-Team".into(), value.into())], ..plain.clone() };
    let (vision, speech) = (HttpStore::new(with("vision")).unwrap(), HttpStore::new(with("speech")).unwrap());
    assert!(vision.head("k").await.is_ok());
    assert_eq!(speech.head("k").await.unwrap_err().kind, StoreErrorKind::NotFound);
    let plain_id = HttpStore::new(plain.clone()).unwrap().id().clone();
    assert!(*vision.id() != plain_id && vision.id() != speech.id(), "the bytes of one are never taken for the other's");
    let error = HttpStore::new(HttpConfig { headers: vec![("Range".into(), "bytes=0-1".into())], ..plain }).unwrap_err();
    assert!(error.to_string().contains("header Range"), "{error}");
}

/// Answers that a careless client would take for the bytes asked for.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_the_range() {
    let changed = |kind: &StoreErrorKind| matches!(kind, StoreErrorKind::Changed { .. });
    let protocol = |kind: &StoreErrorKind| matches!(kind, StoreErrorKind::Protocol(_));
    let unsupported = |kind: &StoreErrorKind| matches!(kind, StoreErrorKind::Unsupported(_));
    let truncated = |kind: &StoreErrorKind| matches!(kind, StoreErrorKind::Truncated { .. });
    let range = |kind: &StoreErrorKind| *kind == StoreErrorKind::RangeNotSatisfiable;
    type Judge = fn(&StoreErrorKind) -> bool;
    let cases: [(&str, Judge); 12] = [
        ("206 Partial Content\r\nETag: \"v2\"\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 4\r\n\r\nabcd", changed),
        ("206 Partial Content\r\nETag: W/\"v1\"\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 4\r\n\r\nabcd", changed),
        ("412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", changed),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 3-6/10\r\nContent-Length: 4\r\n\r\nabcd", protocol),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Length: 4\r\n\r\nabcd", range),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nabc", range),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: nonsense\r\nContent-Length: 4\r\n\r\nabcd", unsupported),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 2-5/10\r\n\r\nabc", truncated),
        ("200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\nxxabc", truncated),
        ("200 OK\r\nETag: \"v1\"\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\nxxabcdxxxx", unsupported),
        ("416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", range),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 2-5/10\r\n\r\nabcdefgh", protocol),
    ];
    for (answer, expected) in cases {
        let server = Server::start(move |_| format!("HTTP/1.1 {answer}"));
        let store = HttpStore::new(HttpConfig::new(&server.url("d/"))).unwrap();
        let error = read(&store, "k", &Version::ETag("\"v1\"".into()), 2..6).await.expect_err(answer);
        assert!(expected(&error), "{answer:?}: {error:?}");
    }
    // And the two that are.
    for answer in [
        "206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 4\r\n\r\nabcd",
        "200 OK\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\nxxabcdxxxx",
    ] {
        let server = Server::start(move |_| format!("HTTP/1.1 {answer}"));
        let store = HttpStore::new(HttpConfig::new(&server.url("d/"))).unwrap();
        assert_eq!(read(&store, "k", &Version::ETag("\"v1\"".into()), 2..6).await, Ok(b"abcd".to_vec()), "{answer}");
    }
}

/// A changed file is not sent at all by a server that knows conditions.
#[tokio::test(flavor = "multi_thread")]
async fn reads_are_bound_to_their_version() {
    for (version, header) in [
        (Version::ETag("\"v1\"".into()), "if-match: \"v1\"\r\n"),
        (Version::Modified(1_577_836_800_000_000_000), "if-unmodified-since: wed, 01 jan 2020 00:00:00 gmt\r\n"),
    ] {
        let server = Server::start(move |request| {
            let bound = request.to_ascii_lowercase().contains(header);
            let status = if bound { "412 Precondition Failed" } else { "500 Unbound" };
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
        });
        let store = HttpStore::new(HttpConfig::new(&server.url("d/"))).unwrap();
        let error = read(&store, "k", &version, 0..1).await.unwrap_err();
        assert!(is_changed(&error), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_cannot_be_listed_say_so() {
    let file = Server::start(|_| "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi".to_owned());
    let store = HttpStore::new(HttpConfig::new(&file.url("d/"))).unwrap();
    let error = list(&store, "", true).await.err().unwrap();
    assert!(matches!(error.kind, StoreErrorKind::Unsupported(_)) && error.to_string().contains("option index"), "{error}");
    let forbidden = Server::start(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned());
    let store = HttpStore::new(HttpConfig::new(&forbidden.url("d/"))).unwrap();
    let error = list(&store, "", true).await.err().unwrap();
    assert!(error.kind == StoreErrorKind::Denied && error.to_string().contains("option index"), "{error}");
    // A directory's URL without its slash.
    let redirect = Server::start(|request| {
        let moved = request.contains(" /d ");
        let to = "HTTP/1.1 301 Moved\r\nLocation: /d/\r\nContent-Length: 0\r\n\r\n";
        if moved { to.to_owned() } else { FILE.to_owned() }
    });
    let store: Arc<dyn UnderStore> = Arc::new(HttpStore::new(HttpConfig::new(&redirect.url("d"))).unwrap());
    let error = list(&*store, "", true).await.err().unwrap();
    assert!(matches!(error.kind, StoreErrorKind::Config(_)) && error.to_string().contains("'/' at the end"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_links_to_itself_without_end_is_bounded() {
    let page = format!("<a href=\"{}/\">loop</a>", "loop".repeat(25));
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    let server = Server::start(move |_| answer.clone());
    let store = HttpStore::new(HttpConfig::new(&server.url("d/"))).unwrap();
    let listed = list(&store, "", true).await.unwrap();
    assert!(listed.keys().is_empty());
    assert!(listed.unrepresentable.iter().any(|name| name.reason.contains("4096")), "{:?}", listed.unrepresentable.len());
}
