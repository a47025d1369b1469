use forebay_store::{StoreErrorKind, Version};

use super::{Fixture, list, open};

pub(super) async fn flat_and_by_level(fixture: &dyn Fixture) {
    let keys = ["a", "b/1", "b/2", "b/c/3", "b/c/d/4", "b0", "e/f/5", "z"];
    for (size, key) in keys.iter().enumerate() {
        fixture.put("levels", key, &vec![b'x'; size + 1]).await;
    }
    for page_size in [1, 3, 100] {
        let store = fixture.open("levels", page_size).await;
        let flat = list(&*store, "", true).await.unwrap();
        assert_eq!(flat.keys(), keys, "pages of {page_size}");
        assert!(flat.prefixes.is_empty() && flat.unrepresentable.is_empty(), "{:?}", flat.unrepresentable);
        assert!(flat.pages >= keys.len() / page_size, "{} pages of {page_size}", flat.pages);
        for (prefix, objects, prefixes) in [
            ("", vec!["a", "b0", "z"], vec!["b/", "e/"]),
            ("b/", vec!["b/1", "b/2"], vec!["b/c/"]),
            ("b/c/", vec!["b/c/3"], vec!["b/c/d/"]),
            ("e/", vec![], vec!["e/f/"]),
            ("nope/", vec![], vec![]),
            ("a/", vec![], vec![]),
        ] {
            let level = list(&*store, prefix, false).await.unwrap();
            assert_eq!((level.keys(), &level.prefixes[..]), (objects, &prefixes.map_into()[..]), "{prefix:?} by {page_size}");
        }
        let below = list(&*store, "b/", true).await.unwrap();
        assert_eq!(below.keys(), &keys[1..5], "pages of {page_size}");
    }
    // What a listing says of an object is what a look-up says.
    let store = open(fixture, "levels").await;
    for (size, listed) in list(&*store, "", true).await.unwrap().objects.into_iter().enumerate() {
        assert_eq!(listed.size, size as u64 + 1);
        assert!(listed.mtime_ns > 1_500_000_000_000_000_000, "{listed:?}");
        assert_eq!(Version::parse(&listed.version.to_token()), Some(listed.version.clone()));
        assert_eq!(store.head(&listed.key).await.unwrap(), listed);
    }
}

trait MapInto {
    fn map_into(self) -> Vec<String>;
}

impl MapInto for Vec<&str> {
    fn map_into(self) -> Vec<String> {
        self.into_iter().map(String::from).collect()
    }
}

pub(super) async fn empty_container(fixture: &dyn Fixture) {
    let store = open(fixture, "empty").await;
    for recursive in [true, false] {
        let listed = list(&*store, "", recursive).await.unwrap();
        assert!(listed.objects.is_empty() && listed.prefixes.is_empty() && listed.pages == 1);
    }
    assert_eq!(store.head("a").await.unwrap_err().kind, StoreErrorKind::NotFound);
}

pub(super) async fn missing_container(fixture: &dyn Fixture) {
    let store = fixture.missing().await;
    for recursive in [true, false] {
        let error = list(&*store, "", recursive).await.err().expect("a listing of nothing");
        assert_eq!(error.kind, StoreErrorKind::NoSuchContainer, "{error}");
        assert!(error.to_string().contains(store.id().as_str()), "{error}");
    }
    if fixture.tells_missing_container() {
        assert_eq!(store.head("a").await.unwrap_err().kind, StoreErrorKind::NoSuchContainer);
        let error = store.get("a", &Version::Modified(1), 0..1).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NoSuchContainer, "{error}");
    }
}
