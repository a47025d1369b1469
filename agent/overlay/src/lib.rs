//! Overlayfs over an EROFS image and data-only layers: the system calls, for agents that may mount and for csi, which mounts for those that
//! may not. Knows neither who made the image nor what is in the layers.

mod borrow;
mod error;
mod overlay;

pub use borrow::borrow;
pub use error::OverlayError;
pub use overlay::{Composed, Layers, forget_at, mount, path_of};
