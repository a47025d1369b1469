use std::io;
use std::path::PathBuf;

use forebay_erofs::WriteError;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// A file of the image cannot be made.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried: a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The catalog cannot be written as an image.
    #[error("cannot write the image {path}: {source}")]
    Image {
        /// Where it would be.
        path: PathBuf,
        /// Why not.
        source: WriteError,
    },
}

pub(crate) trait IoContext<T> {
    fn during(self, doing: &'static str, path: &std::path::Path) -> Result<T, ComposeError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn during(self, doing: &'static str, path: &std::path::Path) -> Result<T, ComposeError> {
        self.map_err(|source| ComposeError::Io { doing, path: path.to_owned(), source: source.into() })
    }
}
