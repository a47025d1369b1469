//! Files on an HTTP(S) server, over opendal's HTTP transport.
//!
//! opendal's own `http` *service* is not used, only its transport, because the service hides what a cache must know:
//! it takes the `200` of a server without ranges for the range asked for, tells 401 and 5xx apart in words only, folds `a//b`
//! into `a/b`, calls a forbidden directory an existing one, and cannot list.
//!
//! **What a source names.** A URL that ends with `/` is a directory. Any other names one file, and the mount holds just
//! that, under the last part of the URL.
//!
//! **Listing** a directory: with [`HttpConfig::index`], from a text file with one relative path a line (empty lines and `#`
//! comments aside); without, by walking the HTML pages that servers generate (nginx, Apache, rclone, Python). Of a page, only
//! links to something below it count, so parents, other hosts and sorting links do not. Each file is
//! looked up by `HEAD`, since pages round sizes and times: a listing costs one request a file. Answers without a
//! listing are `Unsupported` and say so.
//!
//! **Versions** are strong ETags, else `Last-Modified` in whole seconds, else (a server that gives neither) the size alone:
//! mount such a server only if its files never change.
//!
//! **Servers without ranges** work: the bytes before the range are read and dropped. Reading a large file from such a server
//! in many ranges costs many times its size.
//!
//! **Compression** is refused (`Accept-Encoding: identity`); a compressed answer is an error, since its length and version are
//! another representation's.

mod autoindex;
mod client;
mod config;
mod error;
mod get;
mod index;
mod list;
mod url;

use std::ops::Range;
use std::sync::{Mutex, RwLock};

use async_trait::async_trait;

pub use config::{HttpAuth, HttpConfig};

use crate::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};

/// One directory or file of a server.
#[derive(Debug)]
pub struct HttpStore {
    id: StoreId,
    base: url::Base,
    index: Option<reqwest::Url>,
    page_size: usize,
    client: client::Client,
    auth: RwLock<Option<::http::HeaderValue>>,
    headers: Vec<(::http::HeaderName, ::http::HeaderValue)>,
    /// Names of directories and of the index, so that the next page need not fetch them again.
    names: Mutex<list::Names>,
}

impl HttpStore {
    /// Checks the configuration and builds the client; asks nothing of the server yet.
    ///
    /// # Errors
    /// `Config` for a URL, index, certificate, header or credential that cannot work.
    pub fn new(config: HttpConfig) -> StoreResult<Self> {
        let invalid = |text: String| StoreError::new(&StoreId::new("http://"), "open", "", StoreErrorKind::Config(text));
        let base = url::Base::parse(&config.url).map_err(invalid)?;
        let index = match &config.index {
            None => None,
            Some(_) if base.file().is_some() => {
                return Err(invalid("index: only a directory (a URL that ends with '/') has one".to_owned()));
            }
            Some(index) => Some(base.index(index).map_err(invalid)?),
        };
        let headers = config::headers(&config.headers).map_err(invalid)?;
        Ok(Self {
            id: id(&base, &config.headers),
            headers,
            client: client::Client::new(config.ca_pem.as_deref()).map_err(invalid)?,
            auth: RwLock::new(config.auth.header().map_err(invalid)?),
            page_size: config.page_size.max(1),
            names: Mutex::default(),
            base,
            index,
        })
    }

    /// Uses other credentials from the next request on.
    ///
    /// # Errors
    /// `Config` when they cannot be written as a header; the old ones stay.
    pub fn set_auth(&self, auth: &HttpAuth) -> StoreResult<()> {
        let header = auth.header().map_err(|text| self.error("open", "", StoreErrorKind::Config(text)))?;
        *self.auth.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = header;
        Ok(())
    }

    fn error(&self, operation: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError::new(&self.id, operation, key, kind)
    }
}

/// The URL, and what else the answers may depend on.
fn id(base: &url::Base, headers: &[(String, String)]) -> StoreId {
    let plain = base.store_id();
    if headers.is_empty() {
        return plain;
    }
    let mut said: Vec<String> = headers.iter().map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect();
    said.sort();
    StoreId::new(format!("{plain} [{}]", said.join("; ")))
}

#[async_trait]
impl UnderStore for HttpStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        list::list(self, request).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        get::head(self, "head", key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        get::get(self, key, version, range).await
    }
}
