#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// The address that a GET of a key goes to; `None` where the SDK sends it.
pub(in super::super) fn address(config: &S3Config, key: &str) -> Option<String> {
    let place = Place::of(config)?;
    Some(format!("{}://{}{}", place.origin.scheme()?, place.host.to_str().ok()?, place.path(key)))
}

#[test]
fn what_needs_more_than_a_signature_is_left_to_the_sdk() {
    let region = || Some("us-west-2".to_owned());
    for bucket in ["data--usw2-az1--x-s3", "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap"] {
        let config = S3Config { region: region(), ..S3Config::new(bucket) };
        assert!(Direct::new(&config).unwrap().is_none(), "{bucket}");
    }
    let place = Place::of(&S3Config { region: region(), ..S3Config::new("bkt") }).unwrap();
    assert_eq!(place.region, "us-west-2");
}

#[test]
fn the_port_stands_in_the_host_unless_it_is_the_schemes_own() {
    for (endpoint, want) in [
        ("http://minio:9000", "minio:9000"),
        ("http://minio:80", "minio"),
        ("https://minio:80", "minio:80"),
        ("https://minio:443", "minio"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("HTTP://minio", "minio"),
    ] {
        let config = S3Config { endpoint: Some(endpoint.to_owned()), ..S3Config::new("bkt") };
        assert_eq!(Place::of(&config).unwrap().host, want, "{endpoint}");
    }
}
