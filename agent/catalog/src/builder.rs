use std::path::{Path, PathBuf};

use crate::ino::INO_BITS;
use crate::mounts::MountTable;
use crate::place::{Placement, place};
use crate::sort::Sorter;
use crate::tally::Tally;
use crate::write::{self, Source};
use crate::{Catalog, CatalogError, Fate, MountSpec, item};

/// Typical bytes of a sorted item; decides how the budget is split between items and their index.
const EXPECTED_ITEM: usize = 64;

/// What a catalog is built of, beside the objects.
#[derive(Clone, Debug)]
pub struct BuilderConfig {
    /// The dataset's name, for people.
    pub dataset: String,
    /// Number of this generation; the caller counts.
    pub generation: u64,
    /// When the listing began, nanoseconds since the epoch.
    pub listed_at_ns: i64,
    /// The dataset's mounts; their order gives their numbers.
    pub mounts: Vec<MountSpec>,
    /// Bytes of heap that sorting may take; what does not fit is spilled to the work directory. Less than a few MiB
    /// is slow. About 1 MiB is taken beside it, whatever is given here.
    pub memory: usize,
}

/// One object of a store's listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Key relative to the mount's root.
    pub key: &'a str,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since the epoch; 0 where the store gives none.
    pub mtime_ns: i64,
    /// The store's identity of the content, opaque text of at most [`crate::MAX_VERSION`] bytes.
    pub version: &'a str,
}

/// Collects a listing in any order and writes a [`Catalog`].
///
/// The same objects give the same bytes, whatever their order and the memory at hand. Temporary files have no name,
/// so a builder that is dropped or killed leaves nothing in the work directory.
pub struct Builder {
    config: BuilderConfig,
    work: PathBuf,
    table: MountTable,
    sorter: Sorter,
    tally: Tally,
    hash_bits: u32,
    path: String,
    item: Vec<u8>,
    /// Directory of the object before: its ancestors are in the sort already.
    known: String,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).field("work", &self.work).finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts a catalog. `work_dir` exists and has room for about 100 bytes an object.
    ///
    /// # Errors
    /// [`CatalogError::Mount`] for a mount path that is not normalised or given twice, [`CatalogError::Glob`] for a
    /// pattern that is none.
    pub fn new(work_dir: &Path, config: BuilderConfig) -> Result<Self, CatalogError> {
        let table = MountTable::new(&config.mounts)?;
        let mut builder = Self {
            work: work_dir.to_owned(),
            table,
            sorter: Sorter::new(work_dir, config.memory, EXPECTED_ITEM, item::is_bare_directory),
            tally: Tally::default(),
            hash_bits: INO_BITS,
            path: String::new(),
            item: Vec::new(),
            known: String::new(),
            config,
        };
        builder.push_directory("", 0)?;
        for mount in builder.config.mounts.clone() {
            builder.push_ancestors(mount.root())?;
            builder.push_directory(mount.root(), 0)?;
        }
        Ok(builder)
    }

    /// Cuts natural inode numbers to `bits`, so that tests meet collisions.
    #[cfg(test)]
    pub(crate) fn with_hash_bits(mut self, bits: u32) -> Self {
        self.hash_bits = bits;
        self
    }

    /// Adds an object that the store of mount number `mount` listed. What becomes of it is in the report; see
    /// [`Fate`].
    ///
    /// # Errors
    /// [`CatalogError::UnknownMount`], or [`CatalogError::Io`] when spilling to the work directory fails. The
    /// builder is of no use after an error.
    pub fn add(&mut self, mount: u16, object: Listed<'_>) -> Result<(), CatalogError> {
        self.check_mount(mount)?;
        let mut path = std::mem::take(&mut self.path);
        let placement = place(&self.table, mount, &object, &mut path);
        let result = match placement {
            Placement::Nowhere(fate) => {
                let shown = matches!(fate, Fate::Shadowed).then_some(path.as_str());
                self.tally.record(fate, mount, object.key, shown);
                Ok(())
            }
            Placement::Directory(fate) => {
                self.tally.record(fate, mount, object.key, Some(&path));
                self.push_ancestors(&path).and_then(|()| self.push_directory(&path, object.mtime_ns))
            }
            Placement::File { collapsed } => self.push_ancestors(&path).and_then(|()| {
                self.item.clear();
                item::push_path(&path, &mut self.item);
                let key = collapsed.then_some(object.key);
                item::push_file(key, mount, object.size, object.mtime_ns, object.version, &mut self.item);
                self.sorter.push(&self.item)
            }),
        };
        self.path = path;
        result
    }

    /// Reports a name that the store saw and cannot represent; a mount's patterns apply to `lossy_name`.
    ///
    /// # Errors
    /// [`CatalogError::UnknownMount`].
    pub fn reject(&mut self, mount: u16, lossy_name: &str, reason: &str) -> Result<(), CatalogError> {
        self.check_mount(mount)?;
        if self.table.wants(mount, lossy_name, false) {
            self.tally.record_rejected(mount, lossy_name, reason);
        } else {
            self.tally.record(Fate::Excluded, mount, lossy_name, None);
        }
        Ok(())
    }

    /// What it was given.
    pub fn config(&self) -> &BuilderConfig {
        &self.config
    }

    /// Writes the catalog to `path`, whole or not at all, and opens it. Blocks for about a second per million
    /// objects.
    ///
    /// # Errors
    /// [`CatalogError::Io`] for a full disk and the like, [`CatalogError::TooManyEntries`]; nothing is at `path`
    /// then that was not there before.
    pub fn finish(self, path: &Path) -> Result<Catalog, CatalogError> {
        let Self { config, work, sorter, tally, hash_bits, .. } = self;
        let items = sorter.finish()?;
        write::write(Source { items, tally, config, work: &work, hash_bits }, path)?;
        Catalog::open(path)
    }

    fn check_mount(&self, mount: u16) -> Result<(), CatalogError> {
        let mounts = self.table.len();
        if usize::from(mount) < mounts { Ok(()) } else { Err(CatalogError::UnknownMount { mount, mounts }) }
    }

    /// Adds the directories above `path`, but for those that the object before has as well.
    fn push_ancestors(&mut self, path: &str) -> Result<(), CatalogError> {
        let Some((directory, _)) = path.rsplit_once('/') else { return Ok(()) };
        if self.known != directory {
            let known = std::mem::take(&mut self.known);
            let mut depths = directory.match_indices('/').map(|(at, _)| at).chain([directory.len()]);
            let result = depths.try_for_each(|end| {
                let ancestor = &directory[..end];
                let is_known = known.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                if is_known { Ok(()) } else { self.push_directory(ancestor, 0) }
            });
            self.known = known;
            result?;
            self.known.clear();
            self.known.push_str(directory);
        }
        Ok(())
    }

    fn push_directory(&mut self, path: &str, mtime_ns: i64) -> Result<(), CatalogError> {
        self.item.clear();
        item::push_path(path, &mut self.item);
        item::push_directory(mtime_ns, &mut self.item);
        self.sorter.push(&self.item)
    }
}

#[cfg(test)]
mod tests;
