//! The state directory: one agent's own.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A state directory that this process has to itself while the value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory when it is missing, open to nobody else, and takes it.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        Self::try_take(path)?.with_context(|| {
            format!("another forebay-agent runs with --state {}: end it, or give this one a directory of its own", path.display())
        })
    }

    /// The same; `None` while another process has it.
    pub(crate) fn try_take(path: &Path) -> anyhow::Result<Option<Self>> {
        let make = || format!("make the state directory {}", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(make)?;
        let path = path.canonicalize().with_context(make)?;
        let lock = path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = file.with_context(|| format!("open {}", lock.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { path, _lock: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("lock {}", lock.display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the cache's index.
    pub(crate) fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// The directory of a Dataset's catalogs.
    pub(crate) fn dataset(&self, namespace: &str, name: &str) -> PathBuf {
        self.path.join("datasets").join(namespace).join(name)
    }

    /// Removes the catalogs of all Datasets but those `served` (`namespace/name`).
    pub(crate) fn forget_datasets(&self, served: &[String]) -> std::io::Result<()> {
        let Ok(namespaces) = fs::read_dir(self.path.join("datasets")) else { return Ok(()) };
        for namespace in namespaces {
            let namespace = namespace?;
            for dataset in fs::read_dir(namespace.path())? {
                let dataset = dataset?;
                let name = format!("{}/{}", namespace.file_name().display(), dataset.file_name().display());
                if !served.contains(&name) {
                    fs::remove_dir_all(dataset.path())?;
                }
            }
        }
        Ok(())
    }

    /// The mount point of a memory tier.
    pub(crate) fn memory_tier(&self, name: &str) -> PathBuf {
        self.path.join("memory").join(name)
    }
}
