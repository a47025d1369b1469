//! A Dataset's tree as a composed mount: overlayfs over the image of a generation, the directories of published files, and a FUSE mount,
//! out of sight, that has every object. A new generation is a new mount that takes the place of the former.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use forebay_compose::{Composed as Overlay, Layers};
use forebay_dataset::{Consistency, Dataset};
use forebay_fuse::{MountOptions, Mounted, OpenCounts, Unmounted, cleanup_dead};
use forebay_mountinfo::{MountEntry, Mounts};
use rustix::mount::{UnmountFlags, unmount};
use tokio::runtime::Handle;

/// How often a busy mount is tried again.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// How the source of a composed mount begins in the list of mounts.
const SOURCE: &str = "forebay:";

/// What a composed mount needs to know beside the Dataset.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// How its tree is to look, and where.
    pub(crate) options: MountOptions,
    /// The directories of published files.
    pub(crate) published: Vec<PathBuf>,
    /// Where the objects are mounted, seen by nobody but overlayfs.
    pub(crate) objects: PathBuf,
}

/// A composed mount of a Dataset.
#[derive(Debug)]
pub(crate) struct Composed {
    place: Place,
    /// The mount point, canonical.
    at: PathBuf,
    objects: Mounted,
    overlay: Overlay,
}

/// Why a Dataset's tree is not to be composed; `None` when it may be tried.
pub(crate) fn why_not(dataset: &Dataset, options: &MountOptions) -> Option<String> {
    if dataset.consistency() != Consistency::Snapshot {
        return Some("only the tree of a Snapshot is the same until it is listed anew".into());
    }
    if options.use_helper {
        return Some("fusermount3, which was asked for, mounts nothing else".into());
    }
    (!rustix::process::geteuid().is_root()).then(|| "mounting overlayfs needs root".into())
}

/// Mounts the current generation at the place. Blocks for as long as its image takes to write.
pub(crate) fn mount(dataset: &Dataset, place: Place, runtime: Handle) -> anyhow::Result<Composed> {
    std::fs::create_dir_all(&place.objects).with_context(|| format!("make {}", place.objects.display()))?;
    cleanup_dead(&place.objects)?;
    let mut hidden = place.options.clone();
    hidden.at.clone_from(&place.objects);
    // Who may read what is decided by the image's permissions; overlayfs looks below as the one who mounted.
    hidden.allow_other = false;
    // Those who stay on a former generation's overlay go on looking here.
    hidden.beneath_overlay = true;
    let objects = forebay_fuse::mount(Arc::new(dataset.objects()), &hidden, runtime).context("mount the objects")?;
    let shown = (|| {
        let overlay = overlay(dataset, &place)?;
        let at = attach(&overlay, &place.options.at)?;
        Ok::<_, anyhow::Error>((overlay, at))
    })();
    match shown {
        Ok((overlay, at)) => Ok(Composed { place, at, objects, overlay }),
        Err(error) => {
            objects.unmount(Duration::ZERO).context("take the objects' mount away again")?;
            Err(error)
        }
    }
}

fn overlay(dataset: &Dataset, place: &Place) -> anyhow::Result<Overlay> {
    let composition = dataset.compose(&place.options.owner)?.context("nothing is listed yet")?;
    let mut data = place.published.clone();
    data.push(place.objects.clone());
    let source = format!("{SOURCE}{}", dataset.name());
    Ok(forebay_compose::mount(&Layers { image: composition.image, data, source })?)
}

/// Attaches the mount, in place of what an agent that was killed left there: names and published files go on being shown.
fn attach(overlay: &Overlay, at: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(at).with_context(|| format!("make {}", at.display()))?;
    let at = at.canonicalize().with_context(|| format!("make {}", at.display()))?;
    match Mounts::read().context("read the list of mounts")?.visible(&at) {
        Some(left) if is_ours(left) => overlay.replace(&at)?,
        Some(_) => bail!("something is mounted at {} already: unmount it, or mount the Dataset elsewhere", at.display()),
        None => {
            let mut inside = std::fs::read_dir(&at).with_context(|| format!("look into {}", at.display()))?;
            if inside.next().is_some() {
                bail!("{} is not empty: empty it, or mount the Dataset elsewhere", at.display());
            }
            overlay.attach(&at)?;
        }
    }
    Ok(at)
}

fn is_ours(mount: &MountEntry) -> bool {
    mount.fs_type == "overlay" && mount.source.starts_with(SOURCE)
}

/// Takes what killed agents left below `dir` out of sight, but for what is at one of `kept`: that is still of use until it is replaced.
pub(crate) fn remove_left_below(dir: &Path, kept: &[PathBuf]) -> anyhow::Result<()> {
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    let mounts = Mounts::read().context("read the list of mounts")?;
    for left in mounts.iter().filter(|mount| is_ours(mount) && mount.at.starts_with(&dir)) {
        if !kept.iter().any(|kept| kept.canonicalize().is_ok_and(|kept| kept == left.at)) {
            remove_left(&left.at)?;
        }
    }
    Ok(())
}

/// Takes composed mounts of ours at `at` out of sight. Whoever uses one goes on with it.
pub(crate) fn remove_left(at: &Path) -> anyhow::Result<()> {
    // The list names places without symbolic links.
    let Ok(at) = &at.canonicalize() else { return Ok(()) };
    loop {
        let mounts = Mounts::read().context("read the list of mounts")?;
        if !mounts.visible(at).is_some_and(is_ours) {
            return Ok(());
        }
        unmount(at, UnmountFlags::DETACH).with_context(|| format!("unmount what a former agent left at {}", at.display()))?;
    }
}

impl Composed {
    /// How the objects, which are all that is not pinned, were opened.
    pub(crate) fn opens(&self) -> OpenCounts {
        self.objects.opens()
    }

    /// Where it is.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Shows the current generation in place of the former, which whoever uses it goes on with. There is no moment without a tree.
    pub(crate) fn renew(&mut self, dataset: &Dataset) -> anyhow::Result<()> {
        // Names that were not there may be there now.
        let names: Vec<String> = (0..=u8::MAX).map(|byte| format!("{byte:02x}")).collect();
        self.objects.notifier().invalidate_all(names.iter().map(String::as_bytes))?;
        let next = overlay(dataset, &self.place)?;
        next.replace(&self.at)?;
        self.overlay = next;
        Ok(())
    }

    /// Lets inodes that nobody uses find their data anew: published files in place of what comes by FUSE, and the space of files that
    /// are gone.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        self.overlay.forget().context("make the kernel forget unused inodes")
    }

    /// Unmounts. While the mount is in use, tries again for `patience`, then takes it out of sight: who uses it goes on as long as this
    /// process lives, and with published files beyond.
    pub(crate) fn unmount(self, patience: Duration) -> anyhow::Result<Unmounted> {
        let Self { place: _, at, objects, overlay } = self;
        // The descriptor itself keeps it in use.
        drop(overlay);
        let until = Instant::now() + patience;
        let cleanly = loop {
            match unmount(&at, UnmountFlags::empty()) {
                Ok(()) => break true,
                Err(rustix::io::Errno::BUSY) if Instant::now() < until => thread::sleep(TRY_EVERY),
                Err(rustix::io::Errno::BUSY) => {
                    unmount(&at, UnmountFlags::DETACH).with_context(|| format!("unmount {}", at.display()))?;
                    break false;
                }
                // Somebody else took it away.
                Err(rustix::io::Errno::INVAL) => break true,
                Err(error) => return Err(error).with_context(|| format!("unmount {}", at.display())),
            }
        };
        let objects = objects.unmount(Duration::ZERO).context("unmount the objects")?;
        Ok(if cleanly { objects } else { Unmounted::Lazily })
    }
}
