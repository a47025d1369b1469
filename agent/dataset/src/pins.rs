//! Gives back what nothing wants any more: objects of replaced generations, pins that the settings dropped.

use std::sync::Arc;

use forebay_catalog::Entry;

use crate::dataset::Inner;
use crate::generation::Generation;
use crate::plan;

impl Inner {
    /// Frees the objects of generations that nobody reads any more and that the current one does not have.
    pub(crate) async fn retire_unused(self: &Arc<Self>) {
        let unused = self.generations.take_unused();
        if unused.is_empty() {
            return;
        }
        let inner = self.clone();
        let work = move || {
            for generation in &unused {
                inner.retire(generation);
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(dataset = self.settings.name, %error, "an old generation was not freed; eviction will");
        }
    }

    fn retire(&self, old: &Generation) {
        let Some(current) = self.generations.current() else { return };
        for entry in old.catalog.walk("/") {
            if current.catalog.by_ino(entry.ino()).is_some_and(|now| same_object(&entry, &now)) {
                continue;
            }
            if let Some(remote) = self.remote(&entry, None) {
                remote.object.unpin();
                remote.object.evict();
            }
        }
    }

    /// Unpins what an earlier manifest had pinned and the settings do not. Reads the whole catalog, so it is done
    /// only when the Dataset has pins beyond those wanted.
    pub(crate) async fn drop_old_pins(self: &Arc<Self>, generation: &Arc<Generation>) {
        if self.pinned_bytes() == 0 {
            return;
        }
        let (inner, generation) = (self.clone(), generation.clone());
        let work = move || {
            let pins = &inner.settings.pins;
            for entry in generation.catalog.walk("/") {
                let path = entry.path();
                if !pins.iter().any(|pin| plan::is_below(&path, pin.trim_end_matches('/')) || pin == "/")
                    && let Some(remote) = inner.remote(&entry, None)
                {
                    remote.object.unpin();
                }
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(dataset = self.settings.name, %error, "pins that are no longer wanted were not dropped");
        }
    }

    /// Bytes of the Dataset in the cache.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.usage().datasets.get(&self.settings.name).map_or(0, |used| used.bytes)
    }

    /// Bytes of the Dataset that are pinned.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.cache.usage().datasets.get(&self.settings.name).map_or(0, |used| used.pinned)
    }
}

fn same_object(old: &Entry<'_>, now: &Entry<'_>) -> bool {
    !now.is_dir()
        && now.size() == old.size()
        && now.version() == old.version()
        && now.mount() == old.mount()
        && now.key() == old.key()
}
