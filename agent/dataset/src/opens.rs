//! Open files: what each handle stands for, shared by all who have it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};

use forebay_fetch::File;

use crate::generation::Generation;
use crate::handle::Opened;

/// One opened version.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) generation: Arc<Generation>,
    pub(crate) file: File,
    /// Path in the tree, for messages.
    pub(crate) path: String,
}

/// The table is a cache of what handles mean: a handle of a former process is looked up by its number and put in.
#[derive(Debug, Default)]
pub(crate) struct Opens {
    table: RwLock<HashMap<Opened, (Arc<OpenFile>, u64)>>,
}

impl Opens {
    pub(crate) fn get(&self, opened: Opened) -> Option<Arc<OpenFile>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&opened).map(|(file, _)| file.clone())
    }

    /// Counts one more holder of `opened`, made by `make` unless it is there.
    pub(crate) fn hold(&self, opened: Opened, make: impl FnOnce() -> OpenFile) -> Arc<OpenFile> {
        match self.table.write().unwrap_or_else(PoisonError::into_inner).entry(opened) {
            Entry::Occupied(mut there) => {
                let (file, holders) = there.get_mut();
                *holders += 1;
                file.clone()
            }
            Entry::Vacant(free) => {
                let file = Arc::new(make());
                file.generation.opened();
                free.insert((file, 1)).0.clone()
            }
        }
    }

    /// One holder less. Unknown ones are a former process's.
    pub(crate) fn release(&self, opened: Opened) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut there) = table.entry(opened) else { return };
        there.get_mut().1 -= 1;
        if there.get().1 == 0 {
            there.remove().0.generation.released();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
