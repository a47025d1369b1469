use std::io;

/// Why no image was written. Whatever the sink got by then is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The source has no entry, or no object, at an index that it should have.
    #[error("entry {index} of the tree cannot be read: list the Dataset anew")]
    Missing {
        /// Index of the entry.
        index: u32,
    },
    /// The source's directories have more or fewer children than it has entries.
    #[error("the tree's directories hold {counted} entries, it has {given}: list the Dataset anew")]
    Count {
        /// Entries, the root included, that directories account for.
        counted: u64,
        /// Entries of the source.
        given: u32,
    },
    /// A name that no directory can hold, or one that does not come behind the name before it.
    #[error("entry {index} has a name that {problem}: list the Dataset anew")]
    Name {
        /// Index of the entry.
        index: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file that no Linux file system can hold.
    #[error("entry {index} has {size} bytes, more than a file can have")]
    Size {
        /// Index of the entry.
        index: u32,
        /// Its bytes.
        size: u64,
    },
    /// Directories beyond what block addresses of 32 bits reach.
    #[error("the tree's directories take more than 16 TiB")]
    TooLarge,
    /// The sink failed.
    #[error("the image cannot be written: {0}")]
    Io(#[from] io::Error),
}
