//! What only S3 has: credentials, prefixes, multipart ETags, vendors' peculiarities. Against both servers where it is
//! about servers.

use std::io::Write;

use forebay_store::s3::{S3Config, S3Credentials, S3Store};
use forebay_store::{Checksum, Credentials, ListRequest, PageToken, StoreConfig, StoreErrorKind, UnderStore, Version, open};

use crate::behaviour::{bytes, is_changed, list, read};
use crate::raw::Server;
use crate::stores::{Fixture, Kind, S3};

const BOTH: [Kind; 2] = [Kind::Versitygw, Kind::Minio];

fn keys(id: &str, secret: &str) -> S3Credentials {
    S3Credentials::Static { access_key_id: id.to_owned(), secret_access_key: secret.to_owned(), session_token: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        s3.put("private", "k", b"secret").await;
        s3.put("public", "k", b"public").await;
        s3.publish("public").await;
        let good = S3Store::new(s3.config("private")).unwrap();
        let meta = good.head("k").await.unwrap();
        let S3Credentials::Static { access_key_id, secret_access_key, .. } = S3::keys() else { panic!("no keys") };

        for credentials in [
            keys("nobody", "wrong-secret"),
            keys(&access_key_id, "wrong-secret"),
            S3Credentials::Anonymous,
            S3Credentials::File { path: "/nonexistent/credentials".into(), profile: None },
        ] {
            let config = S3Config { credentials: credentials.clone(), ..s3.config("private") };
            let store = S3Store::new(config).unwrap();
            let listed = list(&store, "", true).await.err().expect("a listing without the right to it");
            let head = store.head("k").await.unwrap_err();
            let get = store.get("k", &meta.version, 0..1).await.unwrap_err();
            for error in [listed, head, get] {
                assert_eq!(error.kind, StoreErrorKind::Denied, "{kind:?} {credentials:?}: {error}");
                assert!(!error.to_string().contains("wrong-secret"), "{error}");
            }
            store.set_credentials(&S3::keys());
            assert_eq!(read(&store, "k", &meta.version, 0..6).await, Ok(b"secret".to_vec()), "{kind:?}");
        }

        let anonymous = S3Store::new(S3Config { credentials: S3Credentials::Anonymous, ..s3.config("public") }).unwrap();
        assert_eq!(list(&anonymous, "", true).await.unwrap().keys(), ["k"], "{kind:?}");
        let meta = anonymous.head("k").await.unwrap();
        assert_eq!(read(&anonymous, "k", &meta.version, 0..6).await, Ok(b"public".to_vec()));

        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n").unwrap();
        write!(file, "[data]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n").unwrap();
        let from_file =
            |profile: Option<&str>| S3Credentials::File { path: file.path().into(), profile: profile.map(String::from) };
        let store = S3Store::new(S3Config { credentials: from_file(Some("data")), ..s3.config("private") }).unwrap();
        assert!(store.head("k").await.is_ok());
        for profile in [None, Some("nope")] {
            store.set_credentials(&from_file(profile));
            assert_eq!(store.head("k").await.unwrap_err().kind, StoreErrorKind::Denied, "{profile:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_store_takes_only_its_own_kind_of_credentials() {
    let s3 = S3::start(Kind::Versitygw);
    s3.put("bkt", "k", b"x").await;
    let config = S3Config { credentials: keys("nobody", "x"), ..s3.config("bkt") };
    let opened = open(StoreConfig::S3(config), Default::default()).unwrap();
    assert_eq!(opened.store().head("k").await.unwrap_err().kind, StoreErrorKind::Denied);
    assert!(opened.set_credentials(&Credentials::Http(Default::default())).is_err());
    opened.set_credentials(&Credentials::S3(S3::keys())).unwrap();
    assert!(opened.store().head("k").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_a_directory() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        for key in ["train/a", "train/b/c", "training/x", "train/", "other"] {
            s3.put("bkt", key, if key.ends_with('/') { b"" } else { b"x" }).await;
        }
        for prefix in ["train", "train/"] {
            let store = S3Store::new(S3Config { prefix: prefix.into(), ..s3.config("bkt") }).unwrap();
            let flat = list(&store, "", true).await.unwrap();
            assert_eq!(flat.keys(), ["a", "b/c"], "{kind:?}");
            assert!(flat.unrepresentable.is_empty());
            let level = list(&store, "", false).await.unwrap();
            assert_eq!((level.keys(), &level.prefixes[..]), (vec!["a"], &["b/".to_owned()][..]));
            let meta = store.head("b/c").await.unwrap();
            assert_eq!(read(&store, "b/c", &meta.version, 0..1).await, Ok(b"x".to_vec()));
            assert_eq!(store.head("other").await.unwrap_err().kind, StoreErrorKind::NotFound);
            assert!(store.id().as_str().ends_with("/bkt/train"), "{}", store.id());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        let (first, second) = (bytes(3, 5 << 20), bytes(4, 1000));
        s3.put("bkt", "plain", b"abc").await;
        s3.put_in_parts("bkt", "parts", &[&first, &second]).await;
        let store = S3Store::new(s3.config("bkt")).unwrap();
        let plain = store.head("plain").await.unwrap();
        let got = store.get("plain", &plain.version, 0..3).await.unwrap();
        let md5 = [0x90, 1, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
        assert_eq!(got.checksum, Some(Checksum::Md5(md5)), "{kind:?}");
        let parts = store.head("parts").await.unwrap();
        assert!(matches!(&parts.version, Version::ETag(tag) if tag.ends_with("-2\"")), "{kind:?}: {}", parts.version);
        let got = store.get("parts", &parts.version, 0..parts.size).await.unwrap();
        let whole = [&first[..], &second].concat();
        // MinIO tells it only in answers without a range.
        let want = (kind == Kind::Versitygw).then(|| Checksum::Crc32c(crc32c::crc32c(&whole)));
        assert_eq!(got.checksum, want, "{kind:?}");
        assert!(read(&store, "parts", &parts.version, 0..parts.size).await.is_ok_and(|got| got == whole), "{kind:?}");
    }
}

/// versitygw writes such a key into XML, which cannot hold it, whatever encoding is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_cannot_write_is_reported() {
    let s3 = S3::start(Kind::Versitygw);
    s3.put("bkt", "bell\u{7}", b"x").await;
    s3.put("bkt", "good", b"x").await;
    let listed = list(&S3Store::new(s3.config("bkt")).unwrap(), "", true).await.unwrap();
    assert_eq!(listed.keys(), ["good"]);
    assert_eq!(listed.unrepresentable.len(), 1);
    assert!(listed.unrepresentable[0].reason.contains("cannot write"), "{:?}", listed.unrepresentable);
}

/// A listing that began as version 1 of the protocol (a marker in its token) goes on so.
#[tokio::test(flavor = "multi_thread")]
async fn version_1_of_the_listing_goes_on_by_marker() {
    for kind in BOTH {
        let s3 = S3::start(kind);
        for key in ["a", "b c/1", "b c/2", "d+e", "f"] {
            s3.put("bkt", key, b"x").await;
        }
        let store = S3Store::new(S3Config { page_size: 2, ..s3.config("bkt") }).unwrap();
        for (recursive, want) in [(true, vec!["b c/1", "b c/2", "d+e", "f"]), (false, vec!["d+e", "f"])] {
            let (mut keys, mut prefixes, mut page) = (vec![], vec![], Some(PageToken("1:a".into())));
            while page.is_some() {
                let got = store.list(ListRequest { prefix: String::new(), recursive, page }).await.unwrap();
                keys.extend(got.objects.into_iter().map(|meta| meta.key));
                prefixes.extend(got.prefixes);
                page = got.next;
                assert!(page.as_ref().is_none_or(|token| token.0.starts_with("1:")), "{page:?}");
            }
            assert_eq!(keys, want, "{kind:?}");
            assert_eq!(prefixes, if recursive { vec![] } else { vec!["b c/"] }, "{kind:?}");
        }
    }
}

fn scripted(server: &Server) -> S3Store {
    let config = S3Config { endpoint: Some(server.endpoint()), credentials: keys("id", "secret"), ..S3Config::new("bkt") };
    S3Store::new(config).unwrap()
}

/// A store that answers version 2 of the listing like version 1, as OBS does: truncated, and no token.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_a_token_goes_on_by_marker() {
    let server = Server::start(|request| {
        let page = |key: &str, truncated: bool| {
            let object = format!(
                "<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
            );
            let xml = format!(
                "<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>{object}</ListBucketResult>"
            );
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{xml}", xml.len())
        };
        let line = request.lines().next().unwrap_or_default();
        match () {
            () if line.contains("list-type=2") => page("a%2Bb", true),
            () if line.contains("marker=a%2Bb") => page("c", true),
            () if line.contains("marker=c") => page("d+e", false),
            () => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    });
    assert_eq!(list(&scripted(&server), "", true).await.unwrap().keys(), ["a+b", "c", "d e"]);
}

/// A store that does not know `If-Match`, and one that ignores it.
#[tokio::test(flavor = "multi_thread")]
async fn if_match_may_be_unknown_or_ignored() {
    let object = |tag: &str| {
        format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"{tag}\"\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n\r\nabc"
        )
    };
    let version = Version::ETag("\"v1\"".into());
    let unknown = Server::start(move |request| {
        let conditional = request.to_ascii_lowercase().contains("if-match:");
        if conditional { "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n".to_owned() } else { object("v1") }
    });
    assert_eq!(read(&scripted(&unknown), "k", &version, 0..3).await, Ok(b"abc".to_vec()));
    let ignored = Server::start(move |_| object("v2"));
    let error = read(&scripted(&ignored), "k", &version, 0..3).await.unwrap_err();
    assert!(is_changed(&error), "{error}");
    // Weak tags are no versions; the time is.
    let weak = Server::start(|_| {
        "HTTP/1.1 206 Partial Content\r\nETag: W/\"v1\"\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n\r\nabc".to_owned()
    });
    let time = Version::Modified(1_577_836_800_000_000_000);
    assert_eq!(read(&scripted(&weak), "k", &time, 0..3).await, Ok(b"abc".to_vec()));
    let error = read(&scripted(&weak), "k", &Version::Modified(1), 0..3).await.unwrap_err();
    assert!(is_changed(&error), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_answers_that_lie() {
    let version = Version::ETag("\"v1\"".into());
    for (answer, want) in [
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nab", "Truncated"),
        ("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 1-2/3\r\nContent-Length: 2\r\n\r\nbc", "Protocol"),
        (
            "206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nab",
            "RangeNotSatisfiable",
        ),
        ("200 OK\r\nETag: \"v1\"\r\nContent-Length: 9\r\n\r\nabcdefghi", "Unsupported"),
        ("200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "Unsupported"),
        ("403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "Denied"),
        ("503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "Unavailable"),
        ("301 Moved Permanently\r\nx-amz-bucket-region: eu-de\r\nContent-Length: 0\r\n\r\n", "Config"),
        ("garbage\r\n\r\n", "Unavailable"),
    ] {
        let server = Server::start(move |_| format!("HTTP/1.1 {answer}"));
        let error = read(&scripted(&server), "k", &version, 0..3).await.expect_err(answer);
        assert!(format!("{error:?}").starts_with(want), "{answer:?}: {error:?}");
    }
    let html = Server::start(|_| {
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>hello</html>  ".to_owned()
    });
    let error = list(&scripted(&html), "", true).await.err().expect("a web page taken for a listing");
    assert!(matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Protocol(_)), "{error}");
}
