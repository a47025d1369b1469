use super::*;

fn objects(keys: &[&str]) -> Vec<Object> {
    keys.iter().map(|key| Object::builder().key(*key).build()).collect()
}

fn answer<'a>(contents: &'a [Object], url_encoded: bool) -> Answer<'a> {
    Answer { contents, prefixes: &[], url_encoded, truncated: true }
}

#[test]
fn a_listing_without_a_token_goes_on_by_marker() {
    let page = objects(&["b", "a%2Bc", "a+d"]);
    assert_eq!(following(&answer(&page, true), None, None), Ok(Some(Next::Marker("b".into()))));
    let page = objects(&["a", "a%2Bc"]);
    assert_eq!(following(&answer(&page, true), None, None), Ok(Some(Next::Marker("a+c".into()))));
    assert_eq!(following(&answer(&page, false), Some(""), None), Ok(Some(Next::Marker("a%2Bc".into()))));
    let last = Answer { truncated: false, ..answer(&page, true) };
    assert_eq!(following(&last, Some("t"), None), Ok(None));
}

#[test]
fn a_listing_that_repeats_itself_ends_with_an_error() {
    let page = objects(&["a", "b"]);
    let token = Next::Token("t".into());
    assert_eq!(following(&answer(&page, false), Some("u"), Some(&token)), Ok(Some(Next::Token("u".into()))));
    assert!(following(&answer(&page, false), Some("t"), Some(&token)).is_err());
    for marker in ["b", "c"] {
        let asked = Next::Marker(marker.into());
        assert!(following(&answer(&page, false), None, Some(&asked)).is_err(), "{marker}");
    }
    assert!(following(&answer(&[], false), None, None).is_err());
}

#[test]
fn tokens_read_back() {
    for next in [Next::Token("1:x".into()), Next::Marker("2:é".into()), Next::Token(String::new())] {
        assert_eq!(Next::parse(&next.clone().into_token()), Some(next));
    }
    assert_eq!(Next::parse(&PageToken("x".into())), None);
}
