#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_sdk_s3::presigning::PresigningConfig;

use super::super::Addressing;
use super::super::direct::tests::address as direct;
use super::*;

/// The address that a request for a key goes to, without what the signature adds.
async fn address(config: &S3Config, key: &str) -> String {
    let http = http_client(None).unwrap();
    let credentials = S3Credentials::Static {
        access_key_id: "id".into(),
        secret_access_key: "secret".into(),
        session_token: Some("token".into()),
    };
    let client = with_identities(&base(config, http.clone()), identities(&http, &credentials).as_ref());
    let presigning = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let request = client.get_object().bucket(&config.bucket).key(key).presigned(presigning).await.unwrap();
    assert!(request.uri().contains("X-Amz-Security-Token=token"), "{}", request.uri());
    request.uri().split('?').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn requests_go_where_the_configuration_says() {
    let config = |endpoint: Option<&str>, addressing| S3Config {
        endpoint: endpoint.map(String::from),
        region: Some("eu-de".into()),
        addressing,
        ..S3Config::new("bkt")
    };
    let obs = Some("https://obs.eu-de.otc.t-systems.com");
    for (endpoint, addressing, want) in [
        (None, Addressing::Auto, "https://bkt.s3.eu-de.amazonaws.com/a%20b/c"),
        (None, Addressing::Path, "https://s3.eu-de.amazonaws.com/bkt/a%20b/c"),
        (obs, Addressing::Auto, "https://bkt.obs.eu-de.otc.t-systems.com/a%20b/c"),
        (obs, Addressing::Path, "https://obs.eu-de.otc.t-systems.com/bkt/a%20b/c"),
        (Some("http://minio:9000"), Addressing::Auto, "http://minio:9000/bkt/a%20b/c"),
        (Some("http://minio:9000"), Addressing::Virtual, "http://bkt.minio:9000/a%20b/c"),
        (Some("http://127.0.0.1:9000/s3"), Addressing::Auto, "http://127.0.0.1:9000/s3/bkt/a%20b/c"),
        (Some("http://127.0.0.1:9000/s3/"), Addressing::Auto, "http://127.0.0.1:9000/s3/bkt/a%20b/c"),
        (Some("http://minio:9000/"), Addressing::Auto, "http://minio:9000/bkt/a%20b/c"),
    ] {
        let config = config(endpoint, addressing);
        assert_eq!(address(&config, "a b/c").await, want);
        assert_eq!(direct(&config, "a b/c").as_deref(), Some(want));
    }
}

#[tokio::test]
async fn keys_are_sent_as_they_are() {
    let config = S3Config { endpoint: Some("http://minio:9000".into()), ..S3Config::new("bkt") };
    for (key, want) in [
        ("a//b", "a//b"),
        ("dir/", "dir/"),
        ("../up/./x", "../up/./x"),
        ("a+b%20c", "a%2Bb%2520c"),
        ("ü", "%C3%BC"),
        ("q?a=b#c", "q%3Fa%3Db%23c"),
    ] {
        assert_eq!(address(&config, key).await, format!("http://minio:9000/bkt/{want}"));
    }
    let all: String = (1..=0x7f).map(char::from).filter(|c| *c != '?').collect();
    for key in [&all[..], "ü/\u{1f600}", "../up/./x", "a//b/", "q?a=b#c"] {
        assert_eq!(direct(&config, key), Some(address(&config, key).await));
    }
}
