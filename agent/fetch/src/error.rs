use std::sync::Arc;

use forebay_store::{StoreError, StoreErrorKind};

/// What a failed fetch means to the one who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchErrorKind {
    /// The object is another version by now, or gone: the opened version cannot be had any more.
    Stale,
    /// The store refuses the credentials.
    Denied,
    /// No answer within the mount's time limits.
    TimedOut,
    /// Anything else that the store or the way to it did wrong.
    Failed,
}

/// A failed fetch: which Dataset and mount, and what the store said of which object.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{label}: {source}")]
pub struct FetchError {
    /// Dataset and mount, e.g. `dataset ml/imagenet, mount /labels`.
    pub label: Arc<str>,
    /// The store's error: operation, store, key, reason.
    pub source: Arc<StoreError>,
}

impl FetchError {
    pub(crate) fn new(label: &Arc<str>, source: StoreError) -> Self {
        Self { label: label.clone(), source: Arc::new(source) }
    }

    /// The caller's view of the error.
    pub fn kind(&self) -> FetchErrorKind {
        match &self.source.kind {
            StoreErrorKind::Changed { .. } | StoreErrorKind::NotFound | StoreErrorKind::RangeNotSatisfiable => {
                FetchErrorKind::Stale
            }
            StoreErrorKind::Denied => FetchErrorKind::Denied,
            StoreErrorKind::Timeout => FetchErrorKind::TimedOut,
            StoreErrorKind::NoSuchContainer
            | StoreErrorKind::Throttled
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Truncated { .. }
            | StoreErrorKind::Corrupt
            | StoreErrorKind::Protocol(_)
            | StoreErrorKind::Unsupported(_)
            | StoreErrorKind::Config(_)
            | StoreErrorKind::Io(_) => FetchErrorKind::Failed,
        }
    }
}
