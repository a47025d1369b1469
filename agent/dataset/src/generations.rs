//! The generations that a node keeps: the current one, and earlier ones while files are open on them.
//!
//! On disk: `catalog-<number>.fbc` in the Dataset's state directory, with its overrides beside it, and
//! the image and the table of objects where it is composed, and the mark of one that composed mounts show, which holds the boot of those
//! mounts. The highest number that opens is the current one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use forebay_catalog::{Catalog, MountSpec};
use tracing::warn;

use crate::generation::Generation;
use crate::objects::ObjectTable;

/// The extension of the mark.
const HELD: &str = "held";

#[derive(Debug)]
pub(crate) struct Generations {
    dir: PathBuf,
    set: RwLock<Set>,
}

#[derive(Debug, Default)]
struct Set {
    current: Option<Arc<Generation>>,
    earlier: BTreeMap<u32, Arc<Generation>>,
}

impl Generations {
    /// Opens the newest catalog in `dir` that is whole and was made of the same mounts, and those that mounts show; deletes the others. None
    /// is fine: then the tree has to be listed.
    pub(crate) fn open(dir: PathBuf, mounts: &[MountSpec]) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&dir)? {
            if let Some(number) = number_of(&entry?.path()) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let generations = Self { dir, set: RwLock::default() };
        for number in numbers {
            let usable = match generations.load(number) {
                Ok(generation) => (generation.catalog.info().mounts == mounts).then_some(generation),
                Err(error) => {
                    warn!(number, %error, "a catalog cannot be used; the tree is listed again");
                    None
                }
            };
            let mut set = generations.set.write().unwrap_or_else(PoisonError::into_inner);
            match usable {
                Some(generation) if set.current.is_none() => set.current = Some(Arc::new(generation)),
                Some(generation) if generation.is_held() => drop(set.earlier.insert(number, Arc::new(generation))),
                _ => {
                    drop(set);
                    generations.delete(number);
                }
            }
        }
        Ok(generations)
    }

    fn load(&self, number: u32) -> Result<Generation, Box<dyn std::error::Error + Send + Sync>> {
        let path = self.path(number);
        let generation = Generation::new(Catalog::open(&path)?, &path)?;
        if fs::read_to_string(path.with_extension(HELD)).is_ok_and(|of| !of.is_empty() && of == boot()) {
            generation.set_held(true);
            // Files of it may be opened before anybody asks for its image again.
            if let Some(table) = ObjectTable::open(&path.with_extension("objects")) {
                let _ = generation.objects.set(table);
            }
        }
        Ok(generation)
    }

    /// Keeps a generation, also through restarts, until [`Generations::hold_only`] does not name it.
    pub(crate) fn hold(&self, generation: &Generation) -> io::Result<()> {
        if !generation.is_held() {
            fs::write(self.path(generation.number).with_extension(HELD), boot())?;
            generation.set_held(true);
        }
        Ok(())
    }

    /// Lets go of every generation that is held and not one of `numbers`.
    pub(crate) fn hold_only(&self, numbers: &[u64]) {
        for generation in self.all() {
            if generation.is_held() && !numbers.contains(&u64::from(generation.number)) {
                remove(&self.path(generation.number).with_extension(HELD));
                generation.set_held(false);
            }
        }
    }

    /// Where the catalog of generation `number` lies.
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("catalog-{number}.fbc"))
    }

    /// The directory for the builder's temporary files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number after the current one; a generation has a number of its own for ever.
    pub(crate) fn next_number(&self) -> u32 {
        self.current().map_or(1, |current| current.number + 1)
    }

    pub(crate) fn current(&self) -> Option<Arc<Generation>> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// The generation with this number, while it is kept.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<Generation>> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let current = set.current.as_ref().filter(|current| current.number == number);
        current.or_else(|| set.earlier.get(&number)).cloned()
    }

    /// Every generation kept, newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Generation>> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.current.iter().chain(set.earlier.values().rev()).cloned().collect()
    }

    /// Makes a new catalog the current generation.
    pub(crate) fn install(&self, catalog: Catalog, number: u32) -> io::Result<Arc<Generation>> {
        let generation = Arc::new(Generation::new(catalog, &self.path(number))?);
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = set.current.replace(generation.clone()) {
            set.earlier.insert(before.number, before);
        }
        Ok(generation)
    }

    /// Forgets the earlier generations that no handle is open on; returns them for a last use.
    pub(crate) fn take_unused(&self) -> Vec<Arc<Generation>> {
        let unused: Vec<_> = {
            let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
            let numbers: Vec<u32> =
                set.earlier.iter().filter(|(_, earlier)| !earlier.in_use()).map(|(number, _)| *number).collect();
            numbers.iter().filter_map(|number| set.earlier.remove(number)).collect()
        };
        for generation in &unused {
            self.delete(generation.number);
        }
        unused
    }

    fn delete(&self, number: u32) {
        let path = self.path(number);
        let beside = ["overrides", "objects", "erofs", HELD].map(|extension| path.with_extension(extension));
        beside.iter().chain([&path]).for_each(|path| remove(path));
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "an old catalog's file cannot be removed");
        }
        _ => {}
    }
}

/// This boot of the node: mounts of another are gone.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn number_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("catalog-")?.strip_suffix(".fbc")?.parse().ok()
}
