//! S3-compatible object stores through aws-sdk-s3, and beside it for GETs ([`direct`]): AWS, OBS, MinIO, Garage, Ceph, versitygw and their like.
//!
//! What vendors do differently, and what this adapter does about it:
//!
//! | difference | answer |
//! |---|---|
//! | OBS and old gateways answer `list-type=2` like version 1: truncated, without a continuation token | the listing goes on with version 1 and `marker` |
//! | keys in a listing are URL-encoded or not | decoded only when the answer says `EncodingType` |
//! | `If-Match` is ignored, or answered 501 | the answer's own ETag is compared; after a 501 the header is left out |
//! | ETags are weak, empty or without quotes | weak and empty ones are not versions: the modification time is; quotes are added |
//! | an ETag looks like MD5 and is none (multipart, KMS, SSE-C, directory buckets) | not taken as a checksum; `verify_md5: false` for other vendors that do so |
//! | times have milliseconds in listings and seconds in headers | cut to whole seconds everywhere, so that listing and look-up agree |
//! | HEAD has no body, so a missing bucket or user looks like a missing key | the bucket is listed when a HEAD answers 404 |
//! | a wrong region is a 400 or 301 | an error that names the region to configure |
//! | newer SDK defaults send and demand checksums | only where the protocol demands them |
//!
//! The mount's root is a prefix that always counts as a directory: `s3://bucket/train` holds `train/a` as `a` and
//! not `training/b`. The root's own marker (`train/`) is the root and not listed. Keys below the root that begin
//! with `/` cannot be a [`Key`](crate::Key) and are reported as [`Unrepresentable`](crate::Unrepresentable).
//!
//! The SDK's retries, body stall detection and operation timeouts are off: [`crate::policy`] does those.

mod client;
mod config;
mod direct;
mod error;
mod get;
mod identity;
mod key;
mod list;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use aws_sdk_s3::Client;

pub use config::{Addressing, S3Config, S3Credentials};

use crate::{GetStream, ListPage, ListRequest, ObjectMeta, StoreId, StoreResult, UnderStore, Version};

/// As whom requests are sent, by either way.
#[derive(Clone)]
struct Access {
    client: Client,
    identities: Option<identity::Identities>,
}

/// One bucket, below one prefix.
pub struct S3Store {
    id: StoreId,
    bucket: String,
    root: key::Root,
    page_size: i32,
    verify_md5: bool,
    /// The configuration without credentials, from which `set_credentials` makes the next client.
    base: aws_sdk_s3::config::Builder,
    http: aws_sdk_s3::config::SharedHttpClient,
    access: RwLock<Access>,
    /// The way of GETs; `None` where the SDK must send them.
    direct: Option<direct::Direct>,
    /// Whether the store understands `If-Match`; cleared when it answers that it does not.
    if_match: Arc<AtomicBool>,
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client would print its whole configuration.
        f.debug_struct("S3Store").field("id", &self.id).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Checks the configuration and builds the client; asks nothing of the store yet.
    ///
    /// # Errors
    /// `Config` for a bucket, endpoint, region or certificate that cannot work.
    pub fn new(config: S3Config) -> StoreResult<Self> {
        let id = config.store_id();
        let invalid = |text: String| config::invalid(&id, text);
        config.validate().map_err(invalid)?;
        let http = client::http_client(config.ca_pem.as_deref()).map_err(invalid)?;
        let direct = direct::Direct::new(&config).map_err(invalid)?;
        let base = client::base(&config, http.clone());
        let access = access(&base, &http, &config.credentials);
        Ok(Self {
            root: key::Root::new(&config.prefix),
            bucket: config.bucket,
            page_size: i32::from(config.page_size.clamp(1, 1000)),
            verify_md5: config.verify_md5,
            base,
            http,
            access: RwLock::new(access),
            direct,
            if_match: Arc::new(AtomicBool::new(true)),
            id,
        })
    }

    /// Uses other credentials from the next call on; calls in flight go on with the old ones. Connections stay.
    pub fn set_credentials(&self, credentials: &S3Credentials) {
        let access = access(&self.base, &self.http, credentials);
        *self.access.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = access;
    }

    fn client(&self) -> Client {
        self.access.read().unwrap_or_else(|poisoned| poisoned.into_inner()).client.clone()
    }

    fn identities(&self) -> Option<identity::Identities> {
        self.access.read().unwrap_or_else(|poisoned| poisoned.into_inner()).identities.clone()
    }
}

fn access(
    base: &aws_sdk_s3::config::Builder,
    http: &aws_sdk_s3::config::SharedHttpClient,
    credentials: &S3Credentials,
) -> Access {
    let identities = client::identities(http, credentials);
    Access { client: client::with_identities(base, identities.as_ref()), identities }
}

#[async_trait]
impl UnderStore for S3Store {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        list::list(self, request).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        get::head(self, key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        get::get(self, key, version, range).await
    }
}
