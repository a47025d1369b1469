#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

proptest! {
    /// A key's URL, used as a link on its directory's page, leads back to the key.
    #[test]
    fn keys_survive_as_urls(directory in "([^/\0]{1,8}/){0,3}", name in "[^/\0]{1,12}") {
        let base = Base::parse("https://h/r%20oot/").unwrap();
        let key = format!("{directory}{name}");
        prop_assume!(is_key(&key));
        let url = base.url(&key).unwrap();
        prop_assert_eq!(url.query(), None);
        prop_assert_eq!(url.fragment(), None);
        prop_assert!(url.path().starts_with("/r%20oot/"));
        prop_assert_eq!(base.link(&directory, url.as_str()), Link::Below(name.clone()));
        prop_assert_eq!(base.link(&directory, url.path()), Link::Below(name));
    }
}

#[test]
fn only_links_below_the_page_count() {
    let base = Base::parse("http://h:8080/data/").unwrap();
    let below = |name: &str| Link::Below(name.to_owned());
    for (href, want) in [
        ("a", below("a")),
        ("./a", below("a")),
        ("sub/", below("sub/")),
        ("sub/deep/x", below("sub/")),
        ("/data/d/a%20b", below("a b")),
        ("http://h:8080/data/d/a", below("a")),
        ("a#part", below("a")),
        ("%61", below("a")),
        ("100%", below("100%")),
        ("a%2Bb+c", below("a+b+c")),
        ("", Link::Elsewhere),
        ("./", Link::Elsewhere),
        ("../", Link::Elsewhere),
        ("../../etc/passwd", Link::Elsewhere),
        ("%2e%2e/x", Link::Elsewhere),
        ("/data/", Link::Elsewhere),
        ("/data/dx/a", Link::Elsewhere),
        ("?C=N;O=D", Link::Elsewhere),
        ("a?download=1", Link::Elsewhere),
        ("http://h:8081/data/d/a", Link::Elsewhere),
        ("https://h:8080/data/d/a", Link::Elsewhere),
        ("//evil/data/d/a", Link::Elsewhere),
        ("javascript:alert(1)", Link::Elsewhere),
        ("mailto:a@b", Link::Elsewhere),
        ("a%2Fb", Link::Not("d/a/b".into(), "the name holds a '/'")),
        ("%ff", Link::Not("d/\u{fffd}".into(), "the name is not UTF-8")),
    ] {
        assert_eq!(base.link("d/", href), want, "{href}");
    }
}

#[test]
fn escapes_of_the_page_are_compared_decoded() {
    let base = Base::parse("http://h/a(b)/").unwrap();
    assert_eq!(base.link("x+y/", "/a%28b%29/x+y/f"), Link::Below("f".into()));
    assert_eq!(base.link("x+y/", "/a%28b%29/x%2By/f/"), Link::Below("f/".into()));
    assert_eq!(base.link("x+y/", "/a%28b%29/z/f"), Link::Elsewhere);
}

#[test]
fn sources_name_a_directory_or_a_file() {
    let directory = Base::parse("HTTPS://Files.Example:443/labels/").unwrap();
    assert_eq!((directory.store_id().as_str(), directory.file()), ("https://files.example/labels/", None));
    let file = Base::parse("http://h/data/a%20b.tar").unwrap();
    assert_eq!((file.store_id().as_str(), file.file()), ("http://h/data/a%20b.tar", Some("a b.tar")));
    assert_eq!(file.url("a b.tar").unwrap().as_str(), "http://h/data/a%20b.tar");
    assert_eq!(Base::parse("http://h").unwrap().store_id().as_str(), "http://h/");
    for bad in ["h/x", "ftp://h/", "http://", "http://u:p@h/", "http://h/?q", "http://h/#f", "http://h/%ff", ""] {
        let error = Base::parse(bad).unwrap_err();
        assert!(error.starts_with("url: ") && !error.contains("u:p"), "{bad}: {error}");
    }
}

#[test]
fn keys_with_dots_have_no_url() {
    let base = Base::parse("http://h/d/").unwrap();
    for bad in ["..", "../x", "a/../b", "a/./b", "a/..", "/a", "./"] {
        assert!(base.url(bad).is_none(), "{bad}");
    }
    assert_eq!(base.url("a//b?#").unwrap().as_str(), "http://h/d/a//b%3F%23");
    assert_eq!(base.url("").unwrap().as_str(), "http://h/d/");
    assert_eq!(base.index("list.txt").unwrap().as_str(), "http://h/d/list.txt");
    assert!(base.index("file:///etc/passwd").is_err());
}
