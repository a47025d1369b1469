#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn every_key_survives_the_listings_encoding(key in any::<String>()) {
        // As AWS and MinIO write it: a space is a plus.
        let encoded = utf8_percent_encode(&key, NON_ALPHANUMERIC).to_string();
        prop_assert_eq!(url_decoded(&encoded), Ok(key.clone()));
        prop_assert_eq!(url_decoded(&encoded.replace("%20", "+")), Ok(key));
    }

    #[test]
    fn keys_come_back_from_the_root(prefix in "[a-c/]{0,6}", key in "[a-c/]{0,6}") {
        let root = Root::new(&prefix);
        let full = root.prefix(&key);
        prop_assert_eq!(root.relative(&full), Some(key.as_str()));
        prop_assert!(full.starts_with(&prefix) || prefix == "/");
    }
}

#[test]
fn a_root_is_a_directory() {
    let root = Root::new("train");
    assert_eq!(root.relative("train/a"), Some("a"));
    assert_eq!(root.relative("train/"), Some(""));
    assert_eq!(root.relative("training/b"), None);
    assert_eq!(Root::new("").relative("/x"), Some("/x"));
    assert_eq!((root.object("a"), root.object("/a"), root.object("")), (Some("train/a".into()), None, None));
}

#[test]
fn bytes_that_are_not_utf8_are_told() {
    assert_eq!(url_decoded("a%ffb"), Err("a\u{fffd}b".to_owned()));
}

#[test]
fn only_strong_tags_are_versions() {
    for (tag, want) in [
        (Some("\"abc\""), Version::ETag("\"abc\"".into())),
        (Some("abc"), Version::ETag("\"abc\"".into())),
        (Some("W/\"abc\""), Version::Modified(7)),
        (Some("\"\""), Version::Modified(7)),
        (Some(""), Version::Modified(7)),
        (None, Version::Modified(7)),
    ] {
        assert_eq!(version(tag, 7), want, "{tag:?}");
    }
}

#[test]
fn only_plain_tags_are_md5() {
    let digest = md5("\"900150983cd24fb0d6963f7d28e17f72\"").unwrap();
    assert_eq!((digest[0], digest[15]), (0x90, 0x72));
    for tag in [
        "\"900150983cd24fb0d6963f7d28e17f72-2\"",
        "\"00\"",
        "\"zz0150983cd24fb0d6963f7d28e17f72\"",
        "\"é00150983cd24fb0d6963f7d28e17f7\"",
    ] {
        assert_eq!(md5(tag), None, "{tag}");
    }
}

#[test]
fn crc32c_of_the_whole_object_only() {
    assert_eq!(crc32c("4waSgw=="), Some(Checksum::Crc32c(0xe306_9283)));
    for header in ["4waSgw==-3", "", "????????", "AAAAAAAA"] {
        assert_eq!(crc32c(header), None, "{header}");
    }
}

#[test]
fn times_are_whole_seconds() {
    let time = DateTime::from_secs_and_nanos(5, 999_000_000);
    assert_eq!((mtime_ns(Some(&time)), mtime_ns(None)), (5_000_000_000, 0));
}
