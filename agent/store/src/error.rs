use std::error::Error;
use std::sync::Arc;

use crate::{StoreId, Version};

/// Result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// What went wrong, as far as the caller's next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// No such object.
    #[error("the object does not exist")]
    NotFound,
    /// The bucket, container or directory that the mount names does not exist.
    #[error("the bucket or directory does not exist; correct the mount's source or create it")]
    NoSuchContainer,
    /// The object is not the version asked for any more.
    #[error("the object changed: expected {expected}, found {found}")]
    Changed {
        /// The version asked for.
        expected: Version,
        /// What the store has now, as text; "unknown" where it did not say.
        found: String,
    },
    /// Missing, wrong or insufficient credentials (401, 403, EACCES).
    #[error("access denied; check the mount's credentials and their permissions")]
    Denied,
    /// The range does not lie within the object (416): it was truncated under us.
    #[error("the store says that the range lies outside the object")]
    RangeNotSatisfiable,
    /// The store asks to slow down (429, 503 SlowDown).
    #[error("the store throttles requests")]
    Throttled,
    /// Cannot be reached, or answers with a server error (connection refused, DNS, 5xx).
    #[error("the store is unavailable")]
    Unavailable,
    /// No answer, or no progress of the body, within the time limit.
    #[error("no answer within the time limit")]
    Timeout,
    /// The body ended early.
    #[error("the body ended after {got} of {expected} bytes")]
    Truncated {
        /// Bytes received.
        got: u64,
        /// Bytes promised.
        expected: u64,
    },
    /// The bytes are not those that the store's checksum names.
    #[error("the bytes do not match the store's checksum")]
    Corrupt,
    /// An answer that the protocol does not allow.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    /// The store cannot do this at all (an HTTP server without a listing).
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The mount's configuration cannot work.
    #[error("invalid configuration: {0}")]
    Config(String),
    /// A local I/O error that is none of the above.
    #[error("i/o error: {0}")]
    Io(String),
}

impl StoreErrorKind {
    /// Whether the same call may succeed when repeated shortly.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Timeout | Self::Truncated { .. } | Self::Corrupt)
    }
}

/// A failed store call: which store, which operation, which key, what, and the cause as the library told it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {store}/{key}: {kind}{}", cause.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
pub struct StoreError {
    /// The store's id.
    pub store: StoreId,
    /// `list`, `head` or `get`.
    pub operation: &'static str,
    /// Key or prefix.
    pub key: Arc<str>,
    /// What the caller may decide on.
    pub kind: StoreErrorKind,
    /// The library's own words; never holds credentials.
    pub cause: Option<Arc<str>>,
}

impl StoreError {
    /// An error without a library's cause.
    pub fn new(store: &StoreId, operation: &'static str, key: &str, kind: StoreErrorKind) -> Self {
        Self { store: store.clone(), operation, key: key.into(), kind, cause: None }
    }
    /// Adds the library's own words.
    pub fn with_cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }
}

/// A library's words with all that lies below them, on one line.
pub(crate) fn with_causes(mut text: String, mut next: Option<&(dyn Error + 'static)>) -> String {
    while let Some(cause) = next {
        text.extend([": ", &cause.to_string()]);
        next = cause.source();
    }
    text
}
