//! Volumes: staged on the node, published to pods. Every call may be repeated, and ends what a former attempt began.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_api::DatasetName;
use forebay_mountinfo::Mounts;
use rustix::mount::MountFlags;

use super::{KeepError, Keeper, blocking};
use crate::asker::Answer;
use crate::mounter;
use crate::records::{Kind, Use};

/// Mounts that may lie on top of each other where a volume is published.
const LAYERS: usize = 16;

/// Shows what is mounted at `from` and numbered `number` at `to`, and makes sure of it: where a mount is missing, a pod would
/// see and fill a directory of the node.
pub(super) fn show(from: &Path, to: &Path, flags: MountFlags, number: &str) -> io::Result<()> {
    let shown = |mounts: &Mounts| mounts.visible(to).is_some_and(|mount| mount.device == number && mount.readonly);
    let mounts = Mounts::read()?;
    if shown(&mounts) {
        return Ok(());
    }
    // A dead mount stays below the new one, so that the bare directory is not seen between the two.
    if mounts.count_at(to) == 0 {
        std::fs::create_dir_all(to)?;
    } else if mounts.count_at(to) >= LAYERS || !mounter::is_ours(&mounts, to) {
        mounter::unmount_all(to)?;
    }
    mounter::bind(from, to, flags)?;
    if shown(&Mounts::read()?) {
        return Ok(());
    }
    mounter::unmount_all(to)?;
    Err(io::Error::other(format!("what was bound to {} is not the Dataset's mount", to.display())))
}

/// What a pod is shown.
pub(super) struct Source {
    pub(super) from: PathBuf,
    /// As the list of mounts names the file system.
    pub(super) number: String,
    /// The one that it stays on; `None` for the mount that shows each.
    pub(super) generation: Option<u64>,
}

/// Whether both are one volume's with the same mount options.
fn is_same(one: &Use, other: &Use) -> bool {
    let of = |used: &Use| match &used.kind {
        Kind::Publish { flags, .. } => Use { kind: Kind::Publish { flags: *flags, generation: None }, ..used.clone() },
        _ => used.clone(),
    };
    of(one) == of(other)
}

impl Keeper {
    /// Mounts the Dataset for a volume whose staging directory is `path`. What is in that directory is left alone.
    pub(crate) async fn stage(self: &Arc<Self>, dataset: &DatasetName, volume: &str, path: PathBuf) -> Result<(), KeepError> {
        self.ensure(dataset).await?;
        let _lock = self.locks.lock(dataset.clone()).await;
        let noted = self.note(dataset, volume, path, Kind::Stage);
        self.or_sweep(dataset, noted).await
    }

    /// A failure leaves no mount behind that nobody uses.
    async fn or_sweep(&self, dataset: &DatasetName, done: Result<(), KeepError>) -> Result<(), KeepError> {
        if done.is_err()
            && let Err(error) = self.sweep(dataset).await
        {
            tracing::warn!(%dataset, %error, "an unused mount stays");
        }
        done
    }

    /// Forgets a staging directory. Not known is fine.
    pub(crate) async fn unstage(self: &Arc<Self>, path: &Path) -> Result<(), KeepError> {
        let Some(used) = self.records.get(path) else { return Ok(()) };
        let dataset = used.dataset();
        let _lock = self.locks.lock(dataset.clone()).await;
        self.records.remove(path).map_err(|source| KeepError::Record { source })?;
        self.sweep(&dataset).await
    }

    /// Shows the Dataset at `target`, read-only.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        dataset: &DatasetName,
        volume: &str,
        target: PathBuf,
        flags: MountFlags,
    ) -> Result<(), KeepError> {
        self.ensure(dataset).await?;
        let _lock = self.locks.lock(dataset.clone()).await;
        let shown = self.show(dataset, volume, target, flags).await;
        self.or_sweep(dataset, shown).await
    }

    async fn show(&self, dataset: &DatasetName, volume: &str, target: PathBuf, flags: MountFlags) -> Result<(), KeepError> {
        let number = self.kept().get(dataset).map(|kept| kept.number.clone());
        let number = number.ok_or_else(|| KeepError::Awaited { dataset: dataset.clone() })?;
        let known = self.records.get(&target).map(|used| used.kind);
        let composed = match known {
            // A pod keeps what it began with.
            Some(Kind::Publish { generation, .. }) => self.composed_now(dataset, generation).await,
            _ => self.compose(dataset).await,
        };
        let plain = Source { from: self.at(dataset), number, generation: None };
        let mut shown = Ok(());
        for Source { from, number, generation } in composed.into_iter().chain([plain]) {
            // Before the mount is made, so that there is none that nobody knows of.
            self.note(dataset, volume, target.clone(), Kind::Publish { flags: flags.bits(), generation })?;
            let to = target.clone();
            shown = blocking(move || show(&from, &to, flags, &number)).await;
            match &shown {
                Ok(()) => {
                    if generation.is_some() {
                        self.tell_composed(dataset, None).await;
                    }
                    break;
                }
                Err(error) => tracing::warn!(%dataset, target = %target.display(), generation, %error, "it cannot be shown"),
            }
        }
        if known.is_none() && shown.is_err() {
            self.records.remove(&target).map_err(|source| KeepError::Record { source })?;
        }
        shown.map_err(|source| KeepError::Mount { at: target, source })
    }

    /// Takes a pod's directory away. Not there is fine.
    pub(crate) async fn unpublish(self: &Arc<Self>, target: &Path) -> Result<(), KeepError> {
        let dataset = self.records.get(target).map(|used| used.dataset());
        let _lock = match &dataset {
            Some(dataset) => Some(self.locks.lock(dataset.clone()).await),
            None => None,
        };
        let at = target.to_owned();
        let gone = blocking(move || {
            mounter::unmount_all(&at)?;
            match mounter::remove_dir(&at) {
                // Not ours then: kubelet says what it finds there.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    tracing::warn!(target = %at.display(), "below the mount lie files, which stay");
                    Ok(())
                }
                other => other,
            }
        });
        gone.await.map_err(|source| KeepError::Mount { at: target.to_owned(), source })?;
        self.records.remove(target).map_err(|source| KeepError::Record { source })?;
        let Some(dataset) = dataset else { return Ok(()) };
        if self.sweep_composed(&dataset).await? {
            self.tell_composed(&dataset, None).await;
        }
        self.sweep(&dataset).await
    }

    /// What is known of a volume, at `path` or anywhere.
    pub(crate) fn used_by(&self, volume: &str, path: Option<&Path>) -> Option<Use> {
        match path {
            Some(path) => self.records.get(path).filter(|used| used.volume == volume),
            None => self.records.list().into_iter().find(|used| used.volume == volume),
        }
    }

    /// Whether somebody serves the Dataset now.
    pub(crate) fn is_served(&self, dataset: &DatasetName) -> bool {
        self.kept().get(dataset).is_some_and(|kept| !kept.servers.is_empty())
    }

    /// Asks the mount at `path` how large it is. With the path of a published volume.
    pub(crate) async fn ask(&self, path: PathBuf) -> io::Result<Answer> {
        let asker = self.asker.clone();
        blocking(move || Ok(asker.ask(&path, super::ANSWER_WITHIN))).await
    }

    fn note(&self, dataset: &DatasetName, volume: &str, path: PathBuf, kind: Kind) -> Result<(), KeepError> {
        let used = Use {
            path: path.clone(),
            volume: volume.to_owned(),
            namespace: dataset.namespace.clone(),
            name: dataset.name.clone(),
            kind,
        };
        match self.records.get(&path) {
            Some(other) if !is_same(&other, &used) => {
                Err(KeepError::Taken { at: path, volume: other.volume.clone(), dataset: other.dataset() })
            }
            _ => self.records.put(used).map_err(|source| KeepError::Record { source }),
        }
    }
}
