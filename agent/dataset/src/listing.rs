//! From stores to a catalog: many prefixes at a time, pages streamed into the builder, memory bounded.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_catalog::{Builder, Catalog, CatalogError, Listed};
use forebay_crds::conditions::reason;
use forebay_store::{Key, ListPage, ListRequest, StoreError, StoreErrorKind, UnderStore};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::Mount;
use crate::dataset::{ListingFailure, Writing};

/// Mounts listed at a time.
const MOUNTS: usize = 4;
/// Prefixes listed at a time in one mount.
const PARALLEL: usize = 16;
/// A mount's tree is split by levels until it has so many prefixes, or is three levels deep.
const ENOUGH_PREFIXES: usize = 2 * PARALLEL;
const DEEPEST_SPLIT: usize = 3;
/// Pages between the stores and the builder.
const PAGES: usize = 8;

/// Why a tree could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    /// A store failed.
    #[error("mount {mount}: {source}")]
    Store {
        /// The mount's path.
        mount: String,
        /// What its store said.
        source: StoreError,
    },
    /// The catalog could not be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog could not be taken into use.
    #[error("the catalog cannot be taken into use: {0}")]
    Install(#[from] std::io::Error),
    /// The pages ended before the listing did; never seen, since a listing that fails says so.
    #[error("the listing ended early")]
    Abandoned,
    /// The thread that builds the catalog died.
    #[error("the catalog's builder stopped: {0}")]
    Builder(#[from] tokio::task::JoinError),
}

impl ListingFailure {
    /// Why `dataset` is not listed.
    pub(crate) fn of(dataset: &str, error: ListingError) -> Self {
        let message = match &error {
            ListingError::Store { .. } => format!("dataset {dataset}, {error}"),
            other => format!("dataset {dataset}: {other}"),
        };
        let (reason, mount) = match error {
            ListingError::Store { mount, source } => {
                let reason = match source.kind {
                    StoreErrorKind::Denied => reason::ACCESS_DENIED,
                    StoreErrorKind::Unavailable | StoreErrorKind::Timeout | StoreErrorKind::Throttled => {
                        reason::STORE_UNREACHABLE
                    }
                    _ => reason::LISTING_FAILED,
                };
                (reason, Some(mount))
            }
            ListingError::Catalog(_) | ListingError::Install(_) | ListingError::Abandoned | ListingError::Builder(_) => {
                (reason::LISTING_FAILED, None)
            }
        };
        Self { reason, mount, message }
    }
}

/// Lists all mounts into `builder` and finishes the catalog at `path`. `seen` counts objects as they come.
/// Cancellation-safe: nothing is left at `path` unless the catalog is whole.
pub(crate) async fn list(
    mounts: &[Mount],
    builder: Builder,
    path: &Path,
    seen: &AtomicU64,
    writing: Writing,
) -> Result<Catalog, ListingError> {
    let (pages, inbox) = mpsc::channel(PAGES);
    let path = path.to_owned();
    let build = tokio::task::spawn_blocking(move || {
        let _writing = writing;
        build(builder, inbox, &path)
    });
    let listed = futures::stream::iter((0..).zip(mounts.to_vec()))
        .map(|(mount, wanted)| {
            let out = Out { mount, pages: pages.clone(), seen };
            async move {
                let listed = list_mount(&*wanted.background, &out).await;
                listed.map_err(|source| ListingError::Store { mount: wanted.path, source })
            }
        })
        .buffer_unordered(MOUNTS)
        .try_collect::<()>()
        .await;
    let complete = listed.is_ok();
    if complete {
        let _ = pages.send(Message::End).await;
    }
    drop(pages);
    let built = build.await?;
    listed?;
    built?.ok_or(ListingError::Abandoned)
}

enum Message {
    Page(u16, ListPage),
    /// Every mount was listed to its end. Without it the channel's end means that somebody failed.
    End,
}

/// Runs on a thread of its own: sorting spills to disk.
fn build(mut builder: Builder, mut inbox: mpsc::Receiver<Message>, path: &Path) -> Result<Option<Catalog>, CatalogError> {
    while let Some(message) = inbox.blocking_recv() {
        let (mount, page) = match message {
            Message::Page(mount, page) => (mount, page),
            Message::End => return builder.finish(path).map(Some),
        };
        for name in &page.unrepresentable {
            builder.reject(mount, &name.lossy, &name.reason)?;
        }
        for object in &page.objects {
            let version = object.version.to_token();
            builder.add(mount, Listed { key: &object.key, size: object.size, mtime_ns: object.mtime_ns, version: &version })?;
        }
    }
    Ok(None)
}

struct Out<'a> {
    mount: u16,
    pages: mpsc::Sender<Message>,
    seen: &'a AtomicU64,
}

impl Out<'_> {
    async fn page(&self, page: ListPage) {
        self.seen.fetch_add(page.objects.len() as u64, Ordering::Relaxed);
        // The builder only goes away after an error, which its own end tells.
        let _ = self.pages.send(Message::Page(self.mount, page)).await;
    }
}

/// Splits the mount's tree level by level until there is enough to do in parallel, then lists each prefix flat.
async fn list_mount(store: &dyn UnderStore, out: &Out<'_>) -> Result<(), StoreError> {
    let mut level: Vec<Key> = vec![Key::new()];
    let mut depth = 0;
    while depth < DEEPEST_SPLIT && !level.is_empty() && level.len() < ENOUGH_PREFIXES {
        let below = futures::stream::iter(level).map(|prefix| list_prefix(store, prefix, false, out));
        level = below.buffer_unordered(PARALLEL).try_concat().await?;
        depth += 1;
    }
    let flat = futures::stream::iter(level).map(|prefix| list_prefix(store, prefix, true, out));
    flat.buffer_unordered(PARALLEL).try_collect::<Vec<_>>().await.map(drop)
}

/// Lists one prefix to its end; returns the prefixes one level down.
async fn list_prefix(store: &dyn UnderStore, prefix: Key, recursive: bool, out: &Out<'_>) -> Result<Vec<Key>, StoreError> {
    let mut below = Vec::new();
    let mut page = None;
    loop {
        let mut listed = store.list(ListRequest { prefix: prefix.clone(), recursive, page }).await?;
        page = listed.next.take();
        below.append(&mut listed.prefixes);
        out.page(listed).await;
        if page.is_none() {
            return Ok(below);
        }
    }
}
