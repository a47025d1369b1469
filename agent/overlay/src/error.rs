use std::io;
use std::path::PathBuf;

/// Why there is no composed mount.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// It cannot be shown at its place.
    #[error("cannot {doing} {at}: {source}")]
    Attach {
        /// What was tried: a verb.
        doing: &'static str,
        /// The place.
        at: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel lacks something.
    #[error("the kernel refuses {what}: {source} ({said}); a composed mount needs Linux 6.12 with EROFS and overlayfs")]
    Kernel {
        /// What it refused.
        what: &'static str,
        /// How.
        source: io::Error,
        /// Its own words, if it had any.
        said: String,
    },
}
