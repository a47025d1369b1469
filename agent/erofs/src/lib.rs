//! Writes the metadata of a tree as an EROFS image: names, attributes and, for each file, the name of the object that
//! holds its bytes; no data.
//!
//! The image is the top layer of a composed mount: overlayfs reads from it everything but contents, and finds those in
//! data-only layers below, under the path that a file's `trusted.overlay.redirect` attribute names. Exactly the subset of
//! EROFS that this takes is written ([`format`](mod@format) says which), in one sequential pass whose memory does not grow with
//! the tree. The same tree gives the same bytes on every machine.
//!
//! Nothing here knows catalogs, files or mounts: a tree is whoever implements [`Source`], an image whatever implements
//! [`std::io::Write`].

mod directory;
mod error;
mod format;
mod layout;
mod source;
mod write;

pub use error::WriteError;
pub use format::{BLOCK, MAX_SIZE, object_path, read_uuid};
pub use source::{Entry, Kind, Source};
pub use write::{Options, Written, write};
