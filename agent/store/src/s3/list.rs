use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object};

use super::S3Store;
use super::error::from_sdk;
use super::key::{mtime_ns, url_decoded, version};
use crate::{ListPage, ListRequest, ObjectMeta, PageToken, StoreError, StoreErrorKind, StoreResult, Unrepresentable};

/// Where a listing goes on: S3's own token, or a marker for a store that speaks version 1 only.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Token(String),
    Marker(String),
}

impl Next {
    fn parse(token: &PageToken) -> Option<Self> {
        if let Some(token) = token.0.strip_prefix("2:") {
            return Some(Self::Token(token.to_owned()));
        }
        token.0.strip_prefix("1:").map(|marker| Self::Marker(marker.to_owned()))
    }

    fn into_token(self) -> PageToken {
        PageToken(match self {
            Self::Token(token) => format!("2:{token}"),
            Self::Marker(marker) => format!("1:{marker}"),
        })
    }
}

/// The parts of an answer that both versions have.
struct Answer<'a> {
    contents: &'a [Object],
    prefixes: &'a [CommonPrefix],
    url_encoded: bool,
    truncated: bool,
}

pub(super) async fn list(store: &S3Store, request: ListRequest) -> StoreResult<ListPage> {
    let prefix = store.root.prefix(&request.prefix);
    let delimiter = (!request.recursive).then(|| "/".to_owned());
    let error = |kind| StoreError::new(&store.id, "list", &request.prefix, kind);
    let asked = match &request.page {
        None => None,
        Some(token) => Some(Next::parse(token).ok_or_else(|| error(StoreErrorKind::Protocol(format!("page token {token:?}"))))?),
    };
    let (page, next) = match &asked {
        Some(Next::Marker(marker)) => {
            let call = store.client().list_objects().bucket(&store.bucket).prefix(prefix).set_delimiter(delimiter);
            let call = call.max_keys(store.page_size).encoding_type(EncodingType::Url).marker(marker);
            let out = call.send().await.map_err(|failed| from_sdk(&store.id, "list", &request.prefix, None, failed))?;
            let answer = Answer {
                contents: out.contents(),
                prefixes: out.common_prefixes(),
                url_encoded: out.encoding_type() == Some(&EncodingType::Url),
                truncated: out.is_truncated() == Some(true),
            };
            (page(store, &answer, &error)?, following(&answer, None, asked.as_ref()))
        }
        _ => {
            let token = match &asked {
                Some(Next::Token(token)) => Some(token.clone()),
                _ => None,
            };
            let call = store.client().list_objects_v2().bucket(&store.bucket).prefix(prefix).set_delimiter(delimiter);
            let call = call.max_keys(store.page_size).encoding_type(EncodingType::Url).set_continuation_token(token);
            let out = call.send().await.map_err(|failed| from_sdk(&store.id, "list", &request.prefix, None, failed))?;
            let answer = Answer {
                contents: out.contents(),
                prefixes: out.common_prefixes(),
                url_encoded: out.encoding_type() == Some(&EncodingType::Url),
                truncated: out.is_truncated() == Some(true),
            };
            (page(store, &answer, &error)?, following(&answer, out.next_continuation_token(), asked.as_ref()))
        }
    };
    let next = next.map_err(|text| error(StoreErrorKind::Protocol(text)))?;
    Ok(ListPage { next: next.map(Next::into_token), ..page })
}

/// Where the listing goes on. A place that is not beyond the one asked for would list for ever, so it is an error.
fn following(answer: &Answer<'_>, token: Option<&str>, asked: Option<&Next>) -> Result<Option<Next>, String> {
    if !answer.truncated {
        return Ok(None);
    }
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        let next = Next::Token(token.to_owned());
        return if asked == Some(&next) { Err("the listing repeats its page".to_owned()) } else { Ok(Some(next)) };
    }
    let keys = answer.contents.iter().filter_map(Object::key);
    let prefixes = answer.prefixes.iter().filter_map(CommonPrefix::prefix);
    // The marker is the name itself, not its encoding; the greatest is the last that the page covers.
    let plain = |name: &str| if answer.url_encoded { url_decoded(name).ok() } else { Some(name.to_owned()) };
    let last = keys.chain(prefixes).filter_map(plain).max();
    let Some(last) = last else { return Err("a truncated page without names".to_owned()) };
    match asked {
        Some(Next::Marker(marker)) if *marker >= last => Err("the listing repeats its page".to_owned()),
        _ => Ok(Some(Next::Marker(last))),
    }
}

fn page(store: &S3Store, answer: &Answer<'_>, error: &impl Fn(StoreErrorKind) -> StoreError) -> StoreResult<ListPage> {
    let mut page = ListPage { objects: Vec::with_capacity(answer.contents.len()), ..ListPage::default() };
    for object in answer.contents {
        let Some(full) = object.key() else { continue };
        let key = match ours(store, full, answer.url_encoded) {
            Name::Key(key) => key,
            Name::Root => continue,
            Name::Not(name) => {
                page.unrepresentable.push(name);
                continue;
            }
        };
        let Some(size) = object.size().and_then(|size| u64::try_from(size).ok()) else {
            return Err(error(StoreErrorKind::Protocol(format!("object {key:?} is listed without a size"))));
        };
        let mtime_ns = mtime_ns(object.last_modified());
        page.objects.push(ObjectMeta { key, size, mtime_ns, version: version(object.e_tag(), mtime_ns) });
    }
    for full in answer.prefixes.iter().filter_map(CommonPrefix::prefix) {
        match ours(store, full, answer.url_encoded) {
            Name::Key(key) => page.prefixes.push(key),
            Name::Root => {}
            Name::Not(name) => page.unrepresentable.push(name),
        }
    }
    Ok(page)
}

enum Name {
    Key(String),
    Root,
    Not(Unrepresentable),
}

fn ours(store: &S3Store, full: &str, url_encoded: bool) -> Name {
    let not = |lossy: String, reason: &str| Name::Not(Unrepresentable { lossy, reason: reason.to_owned() });
    let full = match if url_encoded { url_decoded(full) } else { Ok(full.to_owned()) } {
        Ok(full) => full,
        Err(lossy) => return not(lossy, "the key is not UTF-8"),
    };
    if !url_encoded && full.contains(char::REPLACEMENT_CHARACTER) {
        // What XML libraries write for a character that XML cannot hold; asking for the key so spelt would find nothing.
        return not(full, "the key holds a character that the store cannot write in a listing");
    }
    match store.root.relative(&full) {
        None => not(full, "the store listed a key outside the prefix asked for"),
        Some("") => Name::Root,
        Some(key) if key.starts_with('/') => not(key.to_owned(), "the key begins with '/'"),
        Some(key) => Name::Key(key.to_owned()),
    }
}

#[cfg(test)]
mod tests;
