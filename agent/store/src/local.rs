//! A local directory, or a file server mounted on the node (NFS, SMB, a block volume).
//!
//! **Symbolic links** are followed as long as they stay below the root, whatever they pass through; the kernel checks
//! that (`openat2` with `RESOLVE_BENEATH`, Linux 5.6), so a link changed meanwhile cannot lead out either. One that leads
//! out, nowhere, in a circle, or to a directory that holds it is reported as [`Unrepresentable`](crate::Unrepresentable).
//!
//! **Special files** (fifos, sockets, devices) are never opened, names that are not UTF-8 have no key, and directories that
//! may not be read have no content: all are reported, and the listing goes on.
//!
//! **Empty directories** are listed as trailing-slash markers, as an object store would hold them.
//!
//! **Versions** are the modification time in nanoseconds, with the size beside it. Both are compared before a read and
//! again after each chunk and before it is handed out, so bytes written meanwhile are reported as `Changed`. What a file
//! system does not tell (a write within one tick of its clock, a program that sets the time back) goes unnoticed; replace
//! files by renaming.
//!
//! **A file server that is not mounted** looks like an empty directory. So an empty root is the error `NoSuchContainer`
//! unless [`LocalConfig::allow_empty`]; and [`LocalConfig::marker`] names a file that must be there, for roots where
//! something else may be in the empty mount point. Both are checked on the first page of a listing of the root and whenever an object is
//! not found. The root is opened anew for each call, so a remounted server is seen at once.
//!
//! **Listings** keep no state between pages: a page token holds the directories on the way down, each with the
//! position that the kernel gave for it. A file renamed while it is listed may come twice or not at all, as with `ls`.

mod beneath;
mod error;
mod get;
mod list;
mod path;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};

/// Calls that may be blocked in the file system at once. A hung file server blocks threads that nothing can end; this
/// bounds how many, and leaves the others of the runtime's to other stores.
const BLOCKING: usize = 64;

/// Which directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// Absolute path of the mount's root.
    pub root: PathBuf,
    /// A path below the root that must exist, or else the root counts as not mounted.
    pub marker: Option<String>,
    /// Whether a root without any entry is a valid, empty store.
    pub allow_empty: bool,
    /// Directory entries a listing page, at least 1.
    pub page_size: usize,
}

impl LocalConfig {
    /// A root without a marker that must not be empty.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), marker: None, allow_empty: false, page_size: 1000 }
    }

    /// `file:///data`: the path without `.`, doubled and trailing slashes. `..` stays, since a link may stand before it.
    ///
    /// # Errors
    /// `Config` for a path that is not absolute or not UTF-8.
    pub fn store_id(&self) -> StoreResult<StoreId> {
        let invalid = |text: &str| {
            let shown = StoreId::new(format!("file://{}", self.root.display()));
            StoreError::new(&shown, "open", "", StoreErrorKind::Config(text.to_owned()))
        };
        let text = self.root.to_str().ok_or_else(|| invalid("the path must be UTF-8"))?;
        if !text.starts_with('/') {
            return Err(invalid("the path must be absolute: file:///directory"));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        Ok(StoreId::new(format!("file:///{}", parts.join("/"))))
    }
}

/// One directory tree; see the module for links, special files and versions.
#[derive(Clone, Debug)]
pub struct LocalStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: StoreId,
    config: LocalConfig,
    blocking: Arc<Semaphore>,
}

impl Shared {
    fn error(&self, operation: &'static str, key: &str, kind: StoreErrorKind) -> StoreError {
        StoreError::new(&self.id, operation, key, kind)
    }
}

impl LocalStore {
    /// Checks the configuration; does not look at the directory yet.
    ///
    /// # Errors
    /// `Config` for a root that is not an absolute UTF-8 path, or a marker that is not a path below it.
    pub fn new(config: LocalConfig) -> StoreResult<Self> {
        let id = config.store_id()?;
        if let Some(marker) = config.marker.as_deref()
            && !path::is_key(marker)
        {
            let text = format!("marker {marker:?}: a relative path without '.' and '..' is needed");
            return Err(StoreError::new(&id, "open", "", StoreErrorKind::Config(text)));
        }
        Ok(Self { shared: Arc::new(Shared { id, config, blocking: Arc::new(Semaphore::new(BLOCKING)) }) })
    }

    /// Runs `work` on a thread that may block. Dropping the future abandons the thread, which ends by itself.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Shared) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let shared = self.shared.clone();
        let failed = |text: String| shared.error(operation, key, StoreErrorKind::Io(text));
        let permit = shared.blocking.clone().acquire_owned().await.map_err(|closed| failed(closed.to_string()))?;
        let inside = shared.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&inside)
        });
        task.await.map_err(|panicked| failed(panicked.to_string()))?
    }
}

#[async_trait]
impl UnderStore for LocalStore {
    fn id(&self) -> &StoreId {
        &self.shared.id
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        let prefix = request.prefix.clone();
        self.blocking("list", &prefix, move |shared| list::list(shared, &request)).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        let owned = key.to_owned();
        self.blocking("head", key, move |shared| get::head(shared, &owned)).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        get::get(self, key, version, range).await
    }
}

#[cfg(test)]
mod tests;
