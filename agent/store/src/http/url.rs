//! Keys as URLs and links as names: pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;

use crate::StoreId;

/// Everything but RFC 3986's unreserved characters and the slash.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The mount's root: a directory, or the directory of the one file.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Ends with `/`; has neither query, fragment nor credentials.
    directory: Url,
    file: Option<String>,
}

/// What a link of a directory's page leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A name one level below; ends with `/` when it has levels of its own.
    Below(String),
    /// Below, but not a name: the bad name, and why.
    Not(String, &'static str),
    /// Somewhere else.
    Elsewhere,
}

impl Base {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|error| format!("url: {error}; write it as https://HOST/PATH/"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("url: http:// or https:// is needed".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url: credentials do not belong into the address; use a secret".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("url: it cannot have a query or a fragment".to_owned());
        }
        let path = url.path().to_owned();
        let Some((directory, last)) = path.rsplit_once('/') else {
            return Err("url: a path is needed".to_owned());
        };
        let file = match last {
            "" => None,
            last => Some(name(last).map_err(|_| "url: the file's name must be UTF-8".to_owned())?),
        };
        url.set_path(&format!("{directory}/"));
        Ok(Self { directory: url, file })
    }

    /// The key of the one file, if the source names one.
    pub(super) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Normalised: host in lower case, no default port, escapes as the URL standard writes them.
    pub(super) fn store_id(&self) -> StoreId {
        let file = self.file.as_deref().map(|name| utf8_percent_encode(name, ESCAPED).to_string());
        StoreId::new(format!("{}{}", self.directory, file.unwrap_or_default()))
    }

    pub(super) fn index(&self, index: &str) -> Result<Url, String> {
        let url = self.directory.join(index).map_err(|error| format!("index {index:?}: {error}"))?;
        if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("index: http:// or https:// is needed".into()) }
    }

    /// The URL of a key, or of a directory with its trailing slash (the empty key: the root's).
    pub(super) fn url(&self, key: &str) -> Option<Url> {
        if !is_key(key.strip_suffix('/').unwrap_or(key)) && !key.is_empty() {
            return None;
        }
        let mut url = self.directory.clone();
        url.set_path(&format!("{}{}", self.directory.path(), utf8_percent_encode(key, ESCAPED)));
        Some(url)
    }

    /// What a link on the page of `directory` leads to.
    pub(super) fn link(&self, directory: &str, href: &str) -> Link {
        let Some(page) = self.url(directory) else { return Link::Elsewhere };
        let Ok(target) = page.join(href) else { return Link::Elsewhere };
        if target.origin() != page.origin() || target.query().is_some() {
            return Link::Elsewhere;
        }
        let Some(rest) = below(&page, &target) else { return Link::Elsewhere };
        let (first, slash) = match rest.split_once('/') {
            Some((first, _)) => (first, "/"),
            None => (rest.as_str(), ""),
        };
        if first.is_empty() {
            // The page itself, or `//x`.
            return Link::Elsewhere;
        }
        match name(first) {
            Ok(name) => Link::Below(name + slash),
            Err((lossy, reason)) => Link::Not(format!("{directory}{lossy}"), reason),
        }
    }
}

/// The rest of `target`'s path below `page`'s. Escapes are compared decoded, since servers differ in what they escape.
fn below(page: &Url, target: &Url) -> Option<String> {
    if let Some(rest) = target.path().strip_prefix(page.path()) {
        return Some(rest.to_owned());
    }
    let mut wanted = page.path().split('/');
    let mut parts = target.path().split('/');
    // The page's path ends with a slash, so its last part is empty.
    let mut left = page.path().matches('/').count();
    while left > 0 {
        let (page_part, target_part) = (wanted.next()?, parts.next()?);
        if !percent_decode_str(page_part).eq(percent_decode_str(target_part)) {
            return None;
        }
        left -= 1;
    }
    let rest: Vec<&str> = parts.collect();
    (!rest.is_empty()).then(|| rest.join("/"))
}

/// Whether every part of a key survives in a URL: `.` and `..` are resolved by everyone who handles one. Empty parts do.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.starts_with('/') && key.split('/').all(|part| !matches!(part, "." | ".."))
}

/// Decodes one part of a URL's path as a name. `Err`: the name for people, and why it is none.
fn name(part: &str) -> Result<String, (String, &'static str)> {
    let name = percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| (percent_decode_str(part).decode_utf8_lossy().into_owned(), "the name is not UTF-8"))?;
    match name.as_ref() {
        "." | ".." => Err((name.into_owned(), "the name is '.' or '..'")),
        text if text.contains('/') => Err((name.into_owned(), "the name holds a '/'")),
        text if text.contains('\0') => Err((name.into_owned(), "the name holds a NUL")),
        _ => Ok(name.into_owned()),
    }
}

#[cfg(test)]
mod tests;
