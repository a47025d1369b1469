//! Composed mounts: a Dataset's generation for pods that stay on it, over the Dataset's own mount. csi makes them of what an agent gives:
//! descriptors, for a path of an agent's is nothing to go by here. What cannot be composed is shown by the Dataset's own mount.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_api::DatasetName;
use forebay_api::node::{Agent, CallError, Composed, Layers, MountId, OBJECTS, Reason, Refusal};
use forebay_mountinfo::Mounts;
use rustix::fs::{FileType, Mode, OFlags};

use super::volumes::Source;
use super::{KeepError, Keeper, blocking};
use crate::mounter;
use crate::records::Kind;

/// How long composing may take; what takes longer is shown by the Dataset's own mount, and is swept away when it is there.
const WITHIN: Duration = Duration::from_secs(30);
/// The largest image: of some 40 million files.
const LARGEST: u64 = 8 << 30;

impl Keeper {
    fn composed_dir(&self, dataset: &DatasetName) -> PathBuf {
        self.places.composed.join(&dataset.namespace).join(&dataset.name)
    }

    /// Where a generation's composed mount stands, over the Dataset's own mount that there is now.
    fn composed_at(&self, dataset: &DatasetName, generation: u64) -> Option<PathBuf> {
        match self.records.get(&self.at(dataset))?.kind {
            Kind::Mount { id, .. } => Some(self.composed_dir(dataset).join(format!("{}-{generation}", MountId(id)))),
            Kind::Stage | Kind::Publish { .. } => None,
        }
    }

    /// A generation that a pod sees, while it is there. The Dataset's lock must be held.
    pub(super) async fn composed_now(&self, dataset: &DatasetName, generation: Option<u64>) -> Option<Source> {
        let generation = generation?;
        let (from, named) = (self.composed_at(dataset, generation)?, dataset.clone());
        let at = from.clone();
        let number = blocking(move || Ok(mounter::is_composed(&Mounts::read()?, &at, &named))).await.ok().flatten()?;
        Some(Source { from, number, generation: Some(generation) })
    }

    /// The newest generation, composed; `None` where its tree is to be shown by the Dataset's own mount, of which the agent is told why.
    /// The Dataset's lock must be held.
    pub(super) async fn compose(&self, dataset: &DatasetName) -> Option<Source> {
        let kept = self.kept().get(dataset).cloned()?;
        let agent = kept.servers.last()?.clone();
        let layers = match agent.compose(kept.mount).await {
            Ok(Ok(layers)) => layers,
            Ok(Err(why)) => {
                tracing::debug!(%dataset, why, "not composed");
                self.tell(&agent, kept.mount, dataset, Some(why)).await;
                return None;
            }
            Err(CallError::Refused(Refusal { reason: Reason::Unsupported, .. })) => return None,
            Err(error) => {
                tracing::warn!(%dataset, %error, "not composed: the agent does not say of what");
                return None;
            }
        };
        let generation = layers.generation;
        let from = self.composed_at(dataset, generation)?;
        let (at, own, named) = (from.clone(), self.at(dataset), dataset.clone());
        // The agent may end meanwhile, and the next one waits for the Dataset's lock before it answers the kernel.
        let made = tokio::time::timeout(WITHIN, blocking(move || compose(&at, &own, &named, layers))).await;
        let why = match made.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"))) {
            Ok(number) => {
                tracing::info!(%dataset, generation, "composed");
                return Some(Source { from, number, generation: Some(generation) });
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(%dataset, generation, why, "not composed: read through the agent");
        self.tell(&agent, kept.mount, dataset, Some(why)).await;
        None
    }

    /// Takes the composed mounts away that no pod sees; whether there were any. The Dataset's lock must be held.
    pub(super) async fn sweep_composed(&self, dataset: &DatasetName) -> Result<bool, KeepError> {
        let dir = self.composed_dir(dataset);
        let generations = self.records.generations(dataset);
        let used: Vec<_> = generations.into_iter().filter_map(|generation| self.composed_at(dataset, generation)).collect();
        let below = dir.clone();
        let swept = blocking(move || {
            let left = match fs::read_dir(&below) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                other => other?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
            };
            let unused: Vec<_> = left.iter().filter(|at| !used.contains(at)).collect();
            for at in &unused {
                mounter::unmount_all(at)?;
                mounter::remove_dir(at)?;
            }
            if unused.len() == left.len() {
                mounter::remove_dir(&below)?;
                // The namespace's directory stays while another Dataset is in it.
                let _ = below.parent().map(mounter::remove_dir);
            }
            Ok(!unused.is_empty())
        });
        swept.await.map_err(|source| KeepError::Mount { at: dir, source })
    }

    /// Tells who serves the Dataset what pods see composed. The Dataset's lock must be held, so that nothing older is said later.
    pub(super) async fn tell_composed(&self, dataset: &DatasetName, agent: Option<&Agent>) {
        let Some(kept) = self.kept().get(dataset).cloned() else { return };
        if let Some(agent) = agent.or(kept.servers.last()) {
            self.tell(agent, kept.mount, dataset, None).await;
        }
    }

    async fn tell(&self, agent: &Agent, mount: MountId, dataset: &DatasetName, why_not: Option<String>) {
        let composed = Composed { generations: self.records.generations(dataset), why_not };
        match agent.composed(mount, composed).await {
            Ok(()) | Err(CallError::Refused(Refusal { reason: Reason::Unsupported, .. })) => {}
            Err(error) => tracing::debug!(%dataset, %mount, %error, "the agent is told again with the next change"),
        }
    }

    /// Makes the composed mounts over a mount look for the data of unused inodes anew.
    pub(super) async fn forget(&self, agent: &Agent, mount: MountId) -> Result<(), Refusal> {
        self.served_by(agent, mount)?;
        let dataset = self.kept().iter().find(|(_, kept)| kept.mount == mount).map(|(dataset, _)| dataset.clone());
        let Some(dataset) = dataset else { return Ok(()) };
        let _lock = self.locks.lock(dataset.clone()).await;
        let generations = self.records.generations(&dataset);
        let places: Vec<_> = generations.into_iter().filter_map(|generation| self.composed_at(&dataset, generation)).collect();
        let forgotten = blocking(move || {
            let mounts = Mounts::read()?;
            let mut there = places.iter().filter(|at| mounter::is_composed(&mounts, at, &dataset).is_some());
            there.try_for_each(|at| forebay_overlay::forget_at(at))
        });
        forgotten.await.map_err(|error| Refusal::new(Reason::Failed, error.to_string()))
    }
}

/// Makes the composed mount at `at`, unless it is there, over the objects of the Dataset's own mount at `own`; answers its number. Blocks,
/// also for answers of the agent.
fn compose(at: &Path, own: &Path, dataset: &DatasetName, layers: Layers) -> io::Result<String> {
    if let Some(number) = mounter::is_composed(&Mounts::read()?, at, dataset) {
        return Ok(number);
    }
    if mounter::has_labels() {
        return Err(io::Error::other("SELinux is on, which composed mounts have not been tried with"));
    }
    mounter::unmount_all(at)?;
    fs::create_dir_all(at)?;
    let Layers { generation: _, namespace, image, directories } = layers;
    let image = own_copy(image, at)?;
    for directory in &directories {
        is_readable(directory, FileType::Directory, "a layer")?;
    }
    let mut data = forebay_overlay::borrow(namespace.as_fd(), &directories)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(own, flags, Mode::empty())?;
    data.push(rustix::fs::openat(&root, OBJECTS, flags, Mode::empty())?);
    let layers = forebay_overlay::Layers {
        image: forebay_overlay::path_of(&image),
        data: data.iter().map(forebay_overlay::path_of).collect(),
        source: mounter::source(dataset),
    };
    forebay_overlay::mount(&layers).and_then(|composed| composed.attach(at)).map_err(io::Error::other)?;
    let shown = mounter::is_composed(&Mounts::read()?, at, dataset);
    shown.ok_or_else(|| io::Error::other(format!("what was composed at {} is not there", at.display())))
}

/// A copy of an agent's image that nobody can change while the kernel reads it. It has no name, and goes with the mount.
fn own_copy(image: OwnedFd, beside: &Path) -> io::Result<File> {
    is_readable(&image, FileType::RegularFile, "the image")?;
    let mut from = File::from(image);
    let size = from.metadata()?.len();
    if size > LARGEST {
        return Err(io::Error::other(format!("an image of {size} bytes is larger than {LARGEST}")));
    }
    let dir = beside.parent().unwrap_or(beside);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::open(dir, flags, Mode::RUSR)?);
    // Not more than was looked at, however long it grows.
    io::copy(&mut io::Read::take(&mut from, size), &mut copy)?;
    Ok(copy)
}

/// Whether the agent could read by this descriptor itself, and it is what it is to be.
fn is_readable(descriptor: &OwnedFd, kind: FileType, what: &str) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(descriptor)?;
    let found = FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode);
    if found != kind || flags.contains(OFlags::PATH) || flags.contains(OFlags::WRONLY) {
        return Err(io::Error::other(format!("{what} that the agent gave is not a {kind:?} that it can read")));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn opened(path: &Path, flags: OFlags) -> OwnedFd {
        rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn only_what_the_agent_has_opened_to_read_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let is = |path: &Path, flags, kind| is_readable(&opened(path, flags), kind, "it").is_ok();
        assert!(is(dir.path(), OFlags::RDONLY, FileType::Directory));
        assert!(!is(dir.path(), OFlags::PATH, FileType::Directory), "a path may be had without the right to read");
        assert!(!is(&file, OFlags::RDONLY, FileType::Directory));
        assert!(is(&file, OFlags::RDONLY, FileType::RegularFile));
        assert!(!is(&file, OFlags::WRONLY, FileType::RegularFile));
        assert!(!is(dir.path(), OFlags::RDONLY, FileType::RegularFile));
    }

    #[test]
    fn an_image_that_the_agent_changes_later_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::write(&image, "as it was").unwrap();
        let mut copy = own_copy(opened(&image, OFlags::RDONLY), &dir.path().join("at")).unwrap();
        File::options().write(true).open(&image).unwrap().write_all(b"SOMETHING").unwrap();
        let mut text = String::new();
        io::Seek::rewind(&mut copy).unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "as it was");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "it has no name");
        let directory = opened(dir.path(), OFlags::RDONLY);
        assert!(own_copy(directory, &dir.path().join("at")).is_err());
    }
}
