use std::io;
use std::path::{Path, PathBuf};

/// Why a catalog could not be built, opened or trusted.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The local disk refused.
    #[error("cannot {operation} {}: {source}; check free space and permissions of the state directory", path.display())]
    Io {
        /// Verb and object, e.g. `write the catalog`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// A mount path that is not a normalised absolute path, or is given twice.
    #[error("mount {path:?}: {problem}")]
    Mount {
        /// The path as given.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An include or exclude pattern that cannot be read.
    #[error("mount {mount:?}: pattern {pattern:?} is not a glob: {problem}")]
    Glob {
        /// The mount's path.
        mount: String,
        /// The pattern as given.
        pattern: String,
        /// The glob library's own words.
        problem: String,
    },
    /// An object was added for a mount that the configuration does not have.
    #[error("mount number {mount} does not exist; the dataset has {mounts} mounts")]
    UnknownMount {
        /// The number given.
        mount: u16,
        /// How many mounts there are.
        mounts: usize,
    },
    /// The listing that a builder was fed from ended before it was complete. Never made here: it is for those who
    /// feed a [`crate::Builder`] from elsewhere.
    #[error("the listing ended before it was complete; it is tried again")]
    Abandoned,
    /// More entries than an index of 32 bits can name.
    #[error("the dataset has more than 4,294,967,295 files and directories; split it or exclude some by glob")]
    TooManyEntries,
    /// So many inode numbers collide that the paths cannot be chance.
    #[error("{collisions} paths share an inode number with another; report this, the paths were crafted")]
    InodeCollisions {
        /// Paths whose natural number was taken, at the point where the build gave up.
        collisions: usize,
    },
    /// The file is not a catalog, is cut short, or was changed.
    #[error("catalog {} is damaged: {problem}; delete it and the dataset is listed again", path.display())]
    Damaged {
        /// The catalog's file.
        path: PathBuf,
        /// Which part, and how.
        problem: String,
    },
    /// Written by another version of this program.
    #[error("catalog {} has format {found}, this program reads {supported}; delete it and the dataset is listed again", path.display())]
    Format {
        /// The catalog's file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The one that this program writes and reads.
        supported: u32,
    },
}

/// Names operation and file beside an I/O error.
pub(crate) trait IoContext<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, CatalogError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, CatalogError> {
        self.map_err(|source| CatalogError::Io { operation, path: path.to_owned(), source })
    }
}
