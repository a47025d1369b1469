//! A mount's life, from making it to taking it down.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use forebay_backing::Table;
use forebay_fs::Tree;
use tokio::runtime::Handle;

use crate::device::{self, Place};
use crate::notify::Notifier;
use crate::passthrough::{Direct, Registrar};
use crate::session::{self, Serving};
use crate::waiting::Watch;
use crate::{MountError, MountOptions, OpenCounts};

/// How often a busy mount is tried again.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long the threads may take to notice that the mount is gone; the kernel tells them at once.
const THREADS_END_WITHIN: Duration = Duration::from_secs(5);

/// How a mount was taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody used it any more; everything about it has ended.
    Cleanly,
    /// It was still in use. It is out of sight, and whoever has a file open is served as long as this process lives.
    Lazily,
}

/// A mounted Dataset. Dropping it unmounts lazily.
#[derive(Debug)]
pub struct Mounted {
    place: Place,
    serving: Serving,
    gone: bool,
}

/// Mounts `tree` and begins to serve it. What must wait for a store runs on `runtime`. Blocks for a moment; needs a runtime
/// thread for nothing.
///
/// # Errors
/// Any [`MountError`] but those of unmounting. Nothing stays mounted then.
pub fn mount<T: Tree>(tree: Arc<T>, options: &MountOptions, runtime: Handle) -> Result<Mounted, MountError> {
    let device = device::open(options)?;
    let place = device.place;
    let native = device.fd.try_clone().and_then(|fd| Ok((Box::new(Direct(fd)) as Box<dyn Registrar>, Table::private()?)));
    let begin = |native| session::begin(tree, options, Watch::Readers, runtime, device.fd, Some(native), None);
    let serving = native.and_then(begin).map_err(|source| {
        // The handshake's failure is the news; the mount goes with its descriptor in any case.
        let _ = place.unmount(true);
        MountError::Handshake { at: place.at.clone(), source }
    })?;
    if let Err(error) = place.set_read_ahead(options.read_ahead_kib) {
        tracing::debug!(at = %place.at.display(), %error, "read-ahead stays at the kernel's default");
    }
    Ok(Mounted { place, serving, gone: false })
}

impl Mounted {
    /// The mount point, canonical.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.place.at
    }

    /// How files were opened so far.
    #[must_use]
    pub fn opens(&self) -> OpenCounts {
        self.serving.opens()
    }

    /// By which the tree's owner makes the kernel forget what a new generation changed.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.serving.notifier
    }

    /// Whether nobody is being served any more: the mount was taken down from outside, or serving failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.serving.has_ended()
    }

    /// Unmounts. While the mount is in use, tries again for `patience`, then takes it out of sight lazily. Blocks.
    ///
    /// # Errors
    /// [`MountError::Covered`], [`MountError::Unmount`], [`MountError::MountInfo`]. The mount is then as it was, and dropped
    /// with the error; see [`Mounted`].
    pub fn unmount(mut self, patience: Duration) -> Result<Unmounted, MountError> {
        let until = Instant::now() + patience;
        while !self.place.unmount(false)? {
            if Instant::now() >= until {
                self.place.unmount(true)?;
                self.gone = true;
                return Ok(Unmounted::Lazily);
            }
            thread::sleep(TRY_EVERY);
        }
        self.gone = true;
        self.serving.waiting.close();
        let until = Instant::now() + THREADS_END_WITHIN;
        while !self.has_ended() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        // Unmounted here but alive in another mount namespace: out of our sight is all that can be said.
        Ok(if self.has_ended() { Unmounted::Cleanly } else { Unmounted::Lazily })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        if let Err(error) = self.place.unmount(true) {
            tracing::warn!(at = %self.place.at.display(), %error, "a mount stays behind");
        }
    }
}
