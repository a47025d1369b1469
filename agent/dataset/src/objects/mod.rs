//! A Dataset's objects by the names of their bytes, as the data layer of a composed mount shows them: `xx/<62 hex>`, whatever their
//! paths; and the image that refers to them by these names.

mod table;
mod tree;

pub use tree::Objects;

use std::path::PathBuf;

use forebay_cache::ObjectId;
use forebay_catalog::Entry;
use forebay_compose::{ComposeError, Image, Look};
use forebay_fs::Owner;
use table::Table;

use crate::Dataset;
use crate::dataset::Inner;
use crate::generation::Generation;

pub(crate) use table::Table as ObjectTable;

/// One generation, ready to be mounted over its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    /// Number of the generation.
    pub generation: u64,
    /// The image of its metadata.
    pub image: PathBuf,
}

impl Dataset {
    /// Writes what a composed mount of the current generation needs, unless a former process did; `None` before anything is listed.
    /// Blocks for about two seconds per million files. Everything goes with the generation.
    ///
    /// # Errors
    /// [`ComposeError`] when a file cannot be written.
    pub fn compose(&self, owner: &Owner) -> Result<Option<Composition>, ComposeError> {
        let Some(generation) = self.inner.generations.current() else { return Ok(None) };
        self.inner.table(&generation)?;
        let path = self.inner.generations.path(generation.number).with_extension("erofs");
        let look = Look { uid: owner.uid, gid: owner.gid, file_mode: owner.file_mode, dir_mode: owner.dir_mode };
        let image = Image::new(&generation.catalog, look, |entry| self.inner.object_id(entry).map(|id| id.0));
        if !image.is_at(&path) {
            image.write(&path)?;
        }
        Ok(Some(Composition { generation: u64::from(generation.number), image: path }))
    }

    /// The objects as a tree of their own.
    pub fn objects(&self) -> Objects {
        Objects::new(self.clone())
    }
}

impl Inner {
    /// The name of the object that holds a file's bytes, in the version that was listed.
    fn object_id(&self, entry: &Entry<'_>) -> Option<ObjectId> {
        let mount = self.mounts.get(usize::from(entry.mount()))?;
        Some(ObjectId::derive(mount.reader.id().as_str(), &entry.key(), entry.version().as_bytes(), entry.size()))
    }

    /// Makes sure that the generation's objects can be found by name.
    fn table<'a>(&self, generation: &'a Generation) -> Result<&'a Table, ComposeError> {
        if let Some(table) = generation.objects.get() {
            return Ok(table);
        }
        let path = self.generations.path(generation.number).with_extension("objects");
        let table = match Table::open(&path) {
            Some(table) => table,
            None => {
                let catalog = &generation.catalog;
                let files = (0..catalog.len()).filter_map(|index| catalog.entry(index)).filter(|entry| !entry.is_dir());
                let ids = files.filter_map(|entry| Some((self.object_id(&entry)?, entry.index())));
                let failed = |source| ComposeError::Io { doing: "write the names of objects to", path: path.clone(), source };
                Table::write(&path, catalog.info().files, ids).map_err(failed)?
            }
        };
        Ok(generation.objects.get_or_init(|| table))
    }

    /// The file that holds the bytes of object `id`, in the newest generation kept that has it.
    fn file_of(&self, id: &ObjectId) -> Option<(std::sync::Arc<Generation>, u32)> {
        for generation in self.generations.all() {
            let found = generation.objects.get().and_then(|table| {
                let is_it = |index: &u32| generation.catalog.entry(*index).and_then(|entry| self.object_id(&entry)) == Some(*id);
                table.candidates(id).find(is_it)
            });
            if let Some(index) = found {
                return Some((generation, index));
            }
        }
        None
    }
}
