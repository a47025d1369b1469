//! Serving a mount that somebody else made and keeps.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_backing::Table;
use forebay_fs::Tree;
use tokio::runtime::Handle;

use crate::negotiated::Negotiated;
use crate::notify::{Notifier, top_names};
use crate::passthrough::{Registrar, Shared};
use crate::session::{self, Serving};
use crate::waiting::Watch;
use crate::{MountError, MountOptions, OpenCounts};

/// A mount that is being served through a descriptor, and that another process made and will unmount.
///
/// There is no call that stops it: the threads end when the mount does, or with the process, after which the next server
/// takes up what they had not answered. Dropping this stops nothing either.
#[derive(Debug)]
pub struct Served {
    at: PathBuf,
    serving: Serving,
}

/// Serves the mount behind `device`, an open `/dev/fuse` that is mounted. Of `options` only `dataset`, `owner`, `threads`,
/// `waiting`, `xattrs`, `not_native`, `kept_ids` and `beneath_overlay` count; `at` is for messages.
///
/// `earlier` is `None` for the first server that a mount has, whose [`Served::negotiated`] must be kept for the next ones. A
/// next one may come while the former still serves: each request then goes to one of them. When the former has ended for good,
/// what it left unanswered must be asked for by [`Notifier::resend`]; if it had ended before, that has been done here.
///
/// With `shared`, complete files are read natively. It must have been there for each server that the mount has had: what a former one has
/// open is only known from there. That goes on as it was opened also where `not_native` says that nothing else is to be.
///
/// Blocks for a moment, and while the kernel forgets what the former server may have shown: not for a thread that `runtime`
/// needs. Reads that wait for a store are given up only by the store's own limits when their reader is killed: its number,
/// given in the mounter's process namespace, says nothing here.
///
/// # Errors
/// [`MountError::Handshake`]. The descriptor is closed then; a mount of which `earlier` was `None` cannot be served any more
/// and must be made anew.
pub fn serve_descriptor<T: Tree>(
    tree: Arc<T>,
    options: &MountOptions,
    runtime: Handle,
    device: OwnedFd,
    earlier: Option<Negotiated>,
    shared: Option<Shared>,
) -> Result<Served, MountError> {
    let at = options.at.clone();
    let native = shared.and_then(|shared| table(shared, &at));
    let serving = session::begin(Arc::clone(&tree), options, Watch::Nobody, runtime, device, native, earlier)
        .map_err(|source| MountError::Handshake { at: at.clone(), source })?;
    if earlier.is_some() {
        forget(&*tree, &serving.notifier, &at);
    }
    Ok(Served { at, serving })
}

/// A table that cannot be shared costs native reads, not the mount.
fn table(Shared { registrar, table }: Shared, at: &Path) -> Option<(Box<dyn Registrar>, Table)> {
    match Table::shared(table) {
        Ok(table) => Some((registrar, table)),
        Err(error) => {
            tracing::warn!(at = %at.display(), %error, "what is open natively cannot be shared with other servers");
            None
        }
    }
}

/// Makes the kernel look at every name again: the former server may have ended between a new generation and its notice of it,
/// or have shown one that this server does not begin with.
fn forget<T: Tree>(tree: &T, notifier: &Notifier, at: &Path) {
    let told = notifier.invalidate_all(std::iter::once_with(|| top_names(tree)).flatten());
    if let Err(error) = told {
        tracing::warn!(at = %at.display(), %error, "the kernel may show names of the former server until they expire");
    }
}

impl Served {
    /// The mount point as `options` named it.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// What this mount's first server agreed on with the kernel; to be kept beside the descriptor for its next one.
    #[must_use]
    pub fn negotiated(&self) -> Negotiated {
        self.serving.negotiated
    }

    /// A duplicate of the descriptor: what another server needs besides [`Served::negotiated`].
    ///
    /// # Errors
    /// When this process has as many descriptors as it may.
    pub fn device(&self) -> io::Result<OwnedFd> {
        self.serving.notifier.device()
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

    /// Whether nobody is being served any more: the mount is gone everywhere, or serving failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.serving.has_ended()
    }
}
