//! Everything that can go wrong in the file system, and the one table to errno.

/// Why a request failed. `message` fields are for people: they name Dataset, mount and object, what happened, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FsError {
    /// No such name or node. Only for what the catalog does not have: a store that fails is [`FsError::Io`].
    #[error("no such file or directory")]
    NotFound,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// A file was needed.
    #[error("is a directory")]
    IsADirectory,
    /// Something would have been changed.
    #[error("read-only file system")]
    ReadOnly,
    /// What was opened or looked up is gone: the object changed under a pinned snapshot, or its generation was dropped.
    #[error("stale: {message}")]
    Stale {
        /// Which object of which Dataset changed, and how to get the new version.
        message: String,
    },
    /// A store, disk or peer failed.
    #[error("{message}")]
    Io {
        /// Dataset, mount and object, what happened, what to do.
        message: String,
    },
    /// A store did not answer in time.
    #[error("timed out: {message}")]
    TimedOut {
        /// Dataset, mount and object, and how long was waited.
        message: String,
    },
    /// The caller, or the Dataset's credentials, may not.
    #[error("permission denied: {message}")]
    Denied {
        /// Whose permission is lacking for what.
        message: String,
    },
    /// The caller was interrupted while waiting.
    #[error("interrupted")]
    Interrupted,
    /// More waits are under way than allowed; the caller may try again.
    #[error("too many requests are waiting")]
    Busy,
    /// A handle that no open gave out.
    #[error("invalid file handle")]
    InvalidHandle,
    /// An argument without meaning here.
    #[error("invalid argument")]
    InvalidArgument,
    /// A name of more than 255 bytes.
    #[error("file name too long")]
    NameTooLong,
    /// A seek for data or hole behind the end.
    #[error("no data behind that offset")]
    NoSuchOffset,
    /// An extended attribute that the node does not have.
    #[error("no such attribute")]
    NoAttribute,
    /// The caller's buffer is too small for the answer.
    #[error("buffer too small")]
    BufferTooSmall,
    /// A request that this file system does not know.
    #[error("not supported")]
    NotSupported,
}

impl FsError {
    /// The errno for the kernel: positive, as in `errno.h`.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            FsError::NotFound => libc::ENOENT,
            FsError::NotADirectory => libc::ENOTDIR,
            FsError::IsADirectory => libc::EISDIR,
            FsError::ReadOnly => libc::EROFS,
            FsError::Stale { .. } => libc::ESTALE,
            FsError::Io { .. } => libc::EIO,
            FsError::TimedOut { .. } => libc::ETIMEDOUT,
            FsError::Denied { .. } => libc::EACCES,
            FsError::Interrupted => libc::EINTR,
            FsError::Busy => libc::EAGAIN,
            FsError::InvalidHandle => libc::EBADF,
            FsError::InvalidArgument => libc::EINVAL,
            FsError::NameTooLong => libc::ENAMETOOLONG,
            FsError::NoSuchOffset => libc::ENXIO,
            FsError::NoAttribute => libc::ENODATA,
            FsError::BufferTooSmall => libc::ERANGE,
            FsError::NotSupported => libc::ENOSYS,
        }
    }
}

#[cfg(test)]
mod tests;
