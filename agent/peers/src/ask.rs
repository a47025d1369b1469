//! What one agent asks of another, as an HTTP request.

use std::ops::Range;

use forebay_store::policy::Priority;
use forebay_store::range_header;
use http::header::RANGE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

mod catalog;

pub use catalog::AskedCatalog;
pub(crate) use catalog::{AGE, SEEN};

/// The path of requests for an object's bytes.
const PATH: &str = "/v1/object";
/// The node that asks.
pub(crate) const NODE: &str = "forebay-node";
const PRIORITY: &str = "forebay-priority";
const BACKGROUND: &str = "background";
/// Present: only what is held is wanted.
const HELD: &str = "forebay-held";
/// Present: who asks would as soon get it from another node.
const ELSEWHERE: &str = "forebay-elsewhere";
/// In an answer: the nodes that have it, with commas between them.
pub(crate) const HOLDERS: &str = "forebay-holders";

/// Bytes of one exact version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The Dataset, `namespace/name`.
    pub dataset: String,
    /// Id of the store.
    pub store: String,
    /// Key below the mount's root.
    pub key: String,
    /// The version's token.
    pub version: String,
    /// Length of the whole object in bytes.
    pub size: u64,
    /// The bytes: not empty, within `size`.
    pub range: Range<u64>,
    /// Who waits for them.
    pub priority: Priority,
    /// Only if all of them are held: nothing is fetched for this, so nobody waits for anybody.
    pub held: bool,
    /// When many want it, the answer may be who has it.
    pub elsewhere: bool,
}

/// What one agent may ask of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Bytes(Asked),
    Catalog(AskedCatalog),
}

impl Request {
    pub(crate) fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, NotAsked> {
        match (method, uri.path()) {
            (&Method::GET, PATH) => Asked::parse(uri, headers).map(Self::Bytes),
            (&Method::GET, catalog::PATH) => AskedCatalog::parse(uri, headers).map(Self::Catalog),
            _ => Err(NotAsked("only GET of /v1/object and /v1/catalog")),
        }
    }
}

/// A request that asks for no data in a way that is understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is not understood: {0}")]
pub struct NotAsked(&'static str);

impl Asked {
    pub(crate) fn uri(&self) -> String {
        let Self { dataset, store, key, version, size, range: _, priority: _, held: _, elsewhere: _ } = self;
        format!("{PATH}?dataset={}&store={}&key={}&version={}&size={size}", text(dataset), text(store), text(key), text(version))
    }

    pub(crate) fn content_range(&self) -> String {
        format!("bytes {}-{}/{}", self.range.start, self.range.end.saturating_sub(1), self.size)
    }

    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if let Ok(range) = HeaderValue::try_from(range_header(&self.range)) {
            headers.insert(RANGE, range);
        }
        if self.priority == Priority::Prefetch {
            headers.insert(PRIORITY, HeaderValue::from_static(BACKGROUND));
        }
        if self.held {
            headers.insert(HELD, HeaderValue::from_static("1"));
        }
        if self.elsewhere {
            headers.insert(ELSEWHERE, HeaderValue::from_static("1"));
        }
    }

    fn parse(uri: &Uri, headers: &HeaderMap) -> Result<Self, NotAsked> {
        let text = |name| text_field(uri, name);
        let size: u64 = field(uri, "size").and_then(|size| size.parse().ok()).ok_or(NotAsked("size"))?;
        let range = headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(range).ok_or(NotAsked("range"))?;
        if range.is_empty() || range.end > size {
            return Err(NotAsked("range"));
        }
        let background = headers.get(PRIORITY).is_some_and(|priority| priority == BACKGROUND);
        let key = text("key")?;
        // A key is a path below the mount's root; a store of files would take these for a way out.
        if key.is_empty() || key.split('/').any(|part| part == "..") || key.starts_with('/') || key.contains('\0') {
            return Err(NotAsked("key"));
        }
        Ok(Self {
            dataset: text("dataset")?,
            store: text("store")?,
            key,
            version: text("version")?,
            size,
            range,
            priority: if background { Priority::Prefetch } else { Priority::Reader },
            held: headers.contains_key(HELD),
            elsewhere: headers.contains_key(ELSEWHERE),
        })
    }
}

/// As it may stand in a query.
fn text(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn field<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn text_field(uri: &Uri, name: &'static str) -> Result<String, NotAsked> {
    let decoded = percent_decode_str(field(uri, name).ok_or(NotAsked(name))?).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| NotAsked(name))
}

fn range(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use std::time::Duration;

    use super::*;

    fn asked() -> Asked {
        Asked {
            dataset: "ml/imagenet".into(),
            store: "s3://obs.example/imagenet?x=1&y".into(),
            key: "träin/a b%2F&size=9.tar".into(),
            version: "e\"5d41-2\"".into(),
            size: 1000,
            range: 10..1000,
            priority: Priority::Prefetch,
            held: false,
            elsewhere: true,
        }
    }

    fn parse(asked: &Asked, change: impl Fn(&mut HeaderMap)) -> Result<Asked, NotAsked> {
        let mut headers = HeaderMap::new();
        asked.add_headers(&mut headers);
        change(&mut headers);
        let parsed = Request::parse(&Method::GET, &asked.uri().parse().unwrap(), &headers)?;
        let Request::Bytes(asked) = parsed else { panic!("{parsed:?}") };
        Ok(asked)
    }

    #[test]
    fn a_catalog_that_is_asked_is_what_is_understood() {
        let wish = "2026-11-28T22:46:47Z & more=1".to_owned();
        for (within, wish, held) in
            [(None, None, false), (Some(Duration::from_millis(1500)), None, true), (Some(Duration::ZERO), Some(wish), false)]
        {
            let asked = AskedCatalog { dataset: "ml/images".into(), tree: "5d41/402a".into(), within, wish, held };
            let mut headers = HeaderMap::new();
            asked.add_headers(&mut headers);
            let parsed = Request::parse(&Method::GET, &asked.uri().parse().unwrap(), &headers).unwrap();
            assert_eq!(parsed, Request::Catalog(asked));
        }
        for uri in ["/v1/catalog?dataset=a", "/v1/catalog?dataset=a&tree=b&within-ms=-1", "/v1/catalogs?dataset=a&tree=b"] {
            Request::parse(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new()).unwrap_err();
        }
        let uri = "/v1/catalog?dataset=a&tree=b".parse().unwrap();
        Request::parse(&Method::POST, &uri, &HeaderMap::new()).unwrap_err();
    }

    #[test]
    fn what_is_asked_is_what_is_understood() {
        for (priority, held) in [(Priority::Reader, false), (Priority::Prefetch, false), (Priority::Prefetch, true)] {
            let asked = Asked { priority, held, ..asked() };
            assert_eq!(parse(&asked, |_| {}).unwrap(), asked);
        }
    }

    #[test]
    fn nothing_outside_of_the_object_or_the_mount_can_be_asked_for() {
        for key in ["", "../secret", "a/../../b", "/etc/passwd", "a\0b"] {
            assert_eq!(parse(&Asked { key: key.into(), ..asked() }, |_| {}), Err(NotAsked("key")), "{key:?}");
        }
        parse(&Asked { key: "a..b/..c".into(), ..asked() }, |_| {}).unwrap();
        for range in ["bytes=10-1000", "bytes=10-", "bytes=5-4", "10-20", "bytes=0-18446744073709551615", "bytes=0-1,4-5"] {
            let header = HeaderValue::from_static(range);
            assert_eq!(parse(&asked(), |headers| drop(headers.insert(RANGE, header.clone()))), Err(NotAsked("range")), "{range}");
        }
    }
}
