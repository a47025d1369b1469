use std::sync::Arc;

use crate::http::{HttpAuth, HttpConfig, HttpStore};
use crate::local::{LocalConfig, LocalStore};
use crate::policy::{Limits, Resilient};
use crate::s3::{S3Config, S3Credentials, S3Store};
use crate::{StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore};

/// One store, exactly: what [`open`] needs to know, whatever manifest it came from. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// An S3-compatible bucket.
    S3(S3Config),
    /// A local directory or a mounted file server.
    Local(LocalConfig),
    /// Files on an HTTP(S) server.
    Http(HttpConfig),
}

/// Credentials to use from now on, of the kind that the store takes. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// For [`StoreConfig::S3`].
    S3(S3Credentials),
    /// For [`StoreConfig::Http`].
    Http(HttpAuth),
}

/// A store with policy around it, whose credentials can be replaced while it is in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenStore {
    store: Resilient,
    adapter: Adapter,
}

#[derive(Clone, Debug)]
enum Adapter {
    S3(Arc<S3Store>),
    Local(Arc<LocalStore>),
    Http(Arc<HttpStore>),
}

/// Opens a store. Asks nothing of it yet: list one page to see whether it is there and lets us in.
///
/// # Errors
/// `Config` when the configuration cannot work; the text begins with the field's name.
pub fn open(config: StoreConfig, limits: Limits) -> StoreResult<OpenStore> {
    let adapter = match config {
        StoreConfig::S3(config) => Adapter::S3(Arc::new(S3Store::new(config)?)),
        StoreConfig::Local(config) => Adapter::Local(Arc::new(LocalStore::new(config)?)),
        StoreConfig::Http(config) => Adapter::Http(Arc::new(HttpStore::new(config)?)),
    };
    let inner: Arc<dyn UnderStore> = match &adapter {
        Adapter::S3(store) => store.clone(),
        Adapter::Local(store) => store.clone(),
        Adapter::Http(store) => store.clone(),
    };
    Ok(OpenStore { store: Resilient::new(inner, limits), adapter })
}

impl OpenStore {
    /// The store itself; [`Resilient::with_priority`] gives the handle for prefetch.
    pub fn store(&self) -> &Resilient {
        &self.store
    }

    /// The store's id.
    pub fn id(&self) -> &StoreId {
        self.store.id()
    }

    /// Uses other credentials from the next request on; requests in flight end with the old ones.
    ///
    /// # Errors
    /// `Config` when they are of another kind than the store takes, or cannot be sent. The old ones stay.
    pub fn set_credentials(&self, credentials: &Credentials) -> StoreResult<()> {
        match (&self.adapter, credentials) {
            (Adapter::S3(store), Credentials::S3(credentials)) => {
                store.set_credentials(credentials);
                Ok(())
            }
            (Adapter::Http(store), Credentials::Http(auth)) => store.set_auth(auth),
            (Adapter::Local(_), _) => self.refuse("a local directory takes no credentials"),
            (Adapter::S3(_), _) => self.refuse("an S3 store takes an access key, not a user or a token"),
            (Adapter::Http(_), _) => self.refuse("an HTTP store takes a user or a token, not an access key"),
        }
    }

    fn refuse(&self, text: &str) -> StoreResult<()> {
        let kind = StoreErrorKind::Config(format!("credentials: {text}"));
        Err(StoreError::new(self.id(), "open", "", kind))
    }
}
