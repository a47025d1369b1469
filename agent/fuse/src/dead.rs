//! Finds mounts whose server died, and takes them out of the way.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use forebay_mountinfo::MountEntry;
use rustix::io::Errno;

use crate::mountinfo;
use crate::{MountError, device};

/// How long a mount may take to answer before it counts as alive and busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Dead mounts that may lie on top of each other at one place.
const LAYERS: usize = 64;

/// Unmounts, lazily, what a killed server of ours left at `at`. Live mounts, ours or not, and anything that is not ours are
/// left alone. Answers how many mounts were removed; `at` need not exist.
///
/// # Errors
/// [`MountError::MountInfo`], [`MountError::Unmount`].
pub fn cleanup_dead(at: &Path) -> Result<usize, MountError> {
    let at = resolve(at);
    for removed in 0..LAYERS {
        let mounts = mountinfo::read()?;
        match mounts.visible(&at) {
            Some(mount) if is_dead(mount) => device::unmount_top(&at, true)?,
            _ => return Ok(removed),
        };
    }
    Ok(LAYERS)
}

/// Does the same for every mount below directory `dir`: Datasets that a former run served and this one does not.
///
/// # Errors
/// As [`cleanup_dead`].
pub fn cleanup_dead_below(dir: &Path) -> Result<Vec<PathBuf>, MountError> {
    let dir = resolve(dir);
    let mut below: Vec<_> = mountinfo::read()?
        .iter()
        .filter(|mount| mountinfo::is_ours(mount) && mount.at.starts_with(&dir))
        .map(|mount| mount.at.clone())
        .collect();
    // Deepest first, for a mount point inside a dead mount cannot be reached.
    below.sort_by_key(|at| std::cmp::Reverse(at.components().count()));
    below.dedup();
    let mut removed = Vec::new();
    for at in below {
        if cleanup_dead(&at)? > 0 {
            removed.push(at);
        }
    }
    Ok(removed)
}

/// The path as mountinfo has it. A dead mount point cannot be looked at itself, so only what is above it is resolved.
fn resolve(at: &Path) -> PathBuf {
    let absolute = std::path::absolute(at).unwrap_or_else(|_| at.to_owned());
    match (absolute.parent().map(Path::canonicalize), absolute.file_name()) {
        (Some(Ok(above)), Some(name)) => above.join(name),
        _ => absolute,
    }
}

/// Whether `mount` is ours and nobody answers for it any more. Asked by `statfs(2)`, which the kernel never answers from what
/// it remembers; on a thread, since a mount whose server hangs would hold the caller for ever.
fn is_dead(mount: &MountEntry) -> bool {
    if !mountinfo::is_ours(mount) {
        return false;
    }
    let (send, receive) = mpsc::channel();
    let at = mount.at.clone();
    let asked = thread::Builder::new().name("forebay-is-dead".to_owned()).spawn(move || {
        // Nobody listens any more when the answer came too late.
        let _ = send.send(rustix::fs::statfs(&at).map(drop));
    });
    asked.is_ok() && matches!(receive.recv_timeout(ANSWER_WITHIN), Ok(Err(Errno::NOTCONN | Errno::CONNABORTED)))
}
