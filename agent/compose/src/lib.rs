//! Composed mounts: a Dataset's generation as overlayfs over an EROFS image of its metadata and, for the bytes, directories of complete
//! cached files and a FUSE mount that has every object. Looking at names and attributes never leaves the kernel; files that are
//! in a directory are read without any process of ours.
//!
//! [`Image`] writes the image of a catalog, [`mount`], of `agent/overlay`, mounts the layers. Which objects lie in which directory is
//! for the caller to know: this crate knows no cache and no FUSE.

mod error;
mod image;

pub use error::ComposeError;
pub use forebay_overlay::{Composed, Layers, OverlayError, mount};
pub use image::{Image, Look};
