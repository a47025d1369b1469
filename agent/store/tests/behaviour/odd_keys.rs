use forebay_store::{StoreErrorKind, Version};

use super::{Fixture, list, open, read};

const ODD: &[&str] = &[
    "a b",
    " lead",
    "trail ",
    "plus+plus",
    "per%20cent",
    "100%",
    "%",
    "q?a=b&c",
    "hash#tag",
    "quote\"'",
    "back\\slash",
    "semi;colon:at@",
    "<a href=\"x\">&amp;</a>",
    "[brackets]{}|^`",
    "~tilde!$*(),=",
    "new\nline",
    "tab\tbell\u{7}",
    "ünïcödé/日本語/🦀",
    "e\u{301}",
    "dots...",
    ".hidden",
    "..two",
    "deep/a b/c+d/%41",
    "dir/",
    "a//b",
    "x//",
    "./dot",
    "../up",
    "in/../between",
    "UPPER/lower",
];

pub(super) async fn survive(fixture: &dyn Fixture) {
    let long = format!("{}{}", format!("{}/", "n".repeat(249)).repeat(3), "m".repeat(250));
    assert_eq!(long.len(), 1000);
    let mut keys: Vec<&str> = ODD.iter().copied().chain([&long[..]]).filter(|key| fixture.holds(key)).collect();
    assert!(keys.len() > 20);
    for key in &keys {
        let content = if key.ends_with('/') { "" } else { key };
        fixture.put("odd", key, content.as_bytes()).await;
    }
    keys.sort_unstable();
    for page_size in [3, 100] {
        let store = fixture.open("odd", page_size).await;
        let listed = list(&*store, "", true).await.unwrap();
        assert_eq!(listed.keys(), keys, "pages of {page_size}");
        assert!(listed.unrepresentable.is_empty(), "{:?}", listed.unrepresentable);
    }
    let store = open(fixture, "odd").await;
    for key in keys {
        let meta = store.head(key).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
        if meta.size > 0 {
            let got = read(&*store, key, &meta.version, 0..meta.size).await;
            assert_eq!(got, Ok(key.as_bytes().to_vec()), "{key:?}");
        }
        // The levels lead to every key too.
        let parent = key.strip_suffix('/').unwrap_or(key).rsplit_once('/').map_or("", |(parent, _)| parent);
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        let level = list(&*store, &prefix, false).await.unwrap();
        let folded = level.prefixes.iter().any(|prefix| prefix == key);
        assert!(level.keys().contains(&key) || folded, "{key:?} is not below {prefix:?}");
    }
}

/// Spellings of something else must not lead to it, and nothing may lead out of the root.
pub(super) async fn that_are_not_there(fixture: &dyn Fixture) {
    fixture.put("there", "d/a", b"inside").await;
    fixture.put("outside", "secret", b"secret").await;
    let store = open(fixture, "there").await;
    let other_spellings: &[&str] = if fixture.is_exact() { &["d//a", "./d/a", "d/./a", "d/x/../a", "d/a\0"] } else { &[] };
    let nothing = ["d/a/", "d", "../outside/secret", "/d/a", "nope", "D/A", "d%2Fa", ""];
    for key in other_spellings.iter().chain(&nothing) {
        let head = store.head(key).await;
        let get = store.get(key, &Version::ETag("\"x\"".into()), 0..1).await;
        for error in [head.err(), get.err()] {
            let error = error.unwrap_or_else(|| panic!("{key:?} leads somewhere"));
            assert!(
                matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Protocol(_) | StoreErrorKind::Config(_)),
                "{error}"
            );
        }
    }
}
