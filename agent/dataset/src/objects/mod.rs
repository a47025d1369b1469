//! A Dataset's objects by the names of their bytes, as the data layer of a composed mount shows them: `xx/<62 hex>`, whatever their
//! paths; and the image that refers to them by these names.

mod beside;
mod table;
mod tree;

pub use beside::Beside;
pub use tree::Objects;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use forebay_cache::{LayerChanges, Object, ObjectId, PublishError};
use forebay_catalog::Entry;
use forebay_compose::{ComposeError, Image, Look};
use forebay_fs::Owner;
use table::Table;
use tokio::sync::watch;

use crate::dataset::Inner;
use crate::generation::Generation;
use crate::{Consistency, Dataset, plan};

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
        self.compose_one(&generation, owner).map(Some)
    }

    fn compose_one(&self, generation: &Generation, owner: &Owner) -> Result<Composition, ComposeError> {
        self.inner.table(generation)?;
        let path = self.inner.generations.path(generation.number).with_extension("erofs");
        let look = Look { uid: owner.uid, gid: owner.gid, file_mode: owner.file_mode, dir_mode: owner.dir_mode };
        let image = Image::new(&generation.catalog, look, |entry| self.inner.object_id(entry).map(|id| id.0));
        if !image.is_at(&path) {
            image.write(&path)?;
        }
        Ok(Composition { generation: u64::from(generation.number), image: path })
    }

    /// The same for mounts that outlive this process, whose objects it or the next one serves: the generation is kept, restarts
    /// included, until [`Dataset::hold_only`] does not name it.
    ///
    /// # Errors
    /// As [`Dataset::compose`].
    pub fn compose_held(&self, owner: &Owner) -> Result<Option<Composition>, ComposeError> {
        let generations = &self.inner.generations;
        let Some(generation) = generations.current() else { return Ok(None) };
        let path = generations.path(generation.number);
        let failed = |source| ComposeError::Io { doing: "mark as in use", path, source };
        // Before the image is written: a listing that ends meanwhile may not take it away.
        generations.hold(&generation).map_err(failed)?;
        self.compose_one(&generation, owner).map(Some)
    }

    /// Of the generations that were kept for mounts only `numbers` are shown still: of the others goes what the newest does not have.
    pub fn hold_only(&self, numbers: &[u64]) {
        self.inner.generations.hold_only(numbers);
        self.inner.released.notify_one();
    }

    /// Publishes every pinned object of the current generation that is complete and was not; how many are published then. Files that
    /// are brought in later publish themselves, and from now on small ones that are not pinned, as long as there is room to spare
    /// ([`Dataset::layer_changes`] tells of those). Blocks: it reads the whole catalog, and what has to be verified; ends early when
    /// `go_on` says no.
    pub fn publish(&self, go_on: impl Fn() -> bool) -> u64 {
        let inner = &self.inner;
        // Where nobody has composed yet the directories are not there.
        inner.cache.published();
        inner.publishes.store(true, Ordering::Release);
        inner.cache.set_native(inner.cache_id, true);
        let Some(generation) = inner.generations.current() else { return 0 };
        let mut published = 0;
        for step in plan::steps(&inner.settings.pins, &[]) {
            for entry in generation.catalog.walk(&step.path).take_while(|_| go_on()) {
                let remote = inner.remote(&entry, None);
                published += u64::from(remote.is_some_and(|remote| inner.publish(&remote.object)));
            }
        }
        published
    }

    /// How often small files were published and taken back, of whatever Dataset of this cache: the kernel looks for them anew when it is made
    /// to forget where it found the data.
    pub fn layer_changes(&self) -> LayerChanges {
        self.inner.cache.layer_changes()
    }

    /// Counts passes over what is pinned: after each there may be published files that were not.
    pub fn passes(&self) -> watch::Receiver<u64> {
        self.inner.passes.subscribe()
    }

    /// How fresh it is.
    pub fn consistency(&self) -> Consistency {
        self.inner.settings.consistency
    }

    /// The Dataset's tree with its objects beside it, in the directory `name` of the root, which is not listed. A name that is no UTF-8
    /// is no file's.
    pub fn beside(&self, name: &'static [u8]) -> Beside {
        Beside::new(self.clone(), name)
    }

    /// The objects as a tree of their own.
    pub fn objects(&self) -> Objects {
        Objects::new(self.clone())
    }
}

impl Inner {
    /// The name of the object that holds a file's bytes, in the version that was listed.
    pub(crate) fn object_id(&self, entry: &Entry<'_>) -> Option<ObjectId> {
        let mount = self.mounts.get(usize::from(entry.mount()))?;
        Some(ObjectId::derive(mount.reader.id().as_str(), &entry.key(), entry.version().as_bytes(), entry.size()))
    }

    /// Publishes an object, if that is wanted and it is ready; whether it is.
    pub(crate) fn publish(&self, object: &Object) -> bool {
        if !self.publishes.load(Ordering::Acquire) {
            return false;
        }
        match object.publish() {
            Ok(()) => true,
            Err(PublishError::NotReady) => false,
            Err(error) => {
                // It is read through FUSE then.
                tracing::debug!(dataset = self.settings.name, object = %object.id(), %error, "a file is not published");
                false
            }
        }
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
