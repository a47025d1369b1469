//! Gives back what nothing wants any more: objects of replaced generations, pins that the settings dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_catalog::Entry;
use tracing::info;

use crate::dataset::Inner;
use crate::generation::Generation;
use crate::overrides::Override;
use crate::plan;

impl Inner {
    /// Frees the objects of generations that nobody reads any more and that no other one has.
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
        // Earlier ones too: mounts show them, or files are open on them.
        let kept = self.generations.all();
        if kept.is_empty() {
            return;
        }
        for entry in old.catalog.walk("/") {
            if kept.iter().any(|generation| shows(generation, &entry)) {
                continue;
            }
            if let Some(remote) = self.remote(&entry, None) {
                remote.object.unpin();
                // Another Dataset may have it and pin it.
                remote.object.evict_unpinned();
            }
        }
    }

    /// Unpins what an earlier manifest had pinned and the settings do not, and with `of_others` what only other nodes keep now; whether there was
    /// anything. Reads the whole catalog, so it is done only when the Dataset has pins.
    pub(crate) async fn drop_old_pins(self: &Arc<Self>, generation: &Arc<Generation>, of_others: bool) -> bool {
        if self.pinned_bytes() == 0 {
            return false;
        }
        let (inner, generation) = (self.clone(), generation.clone());
        let work = move || {
            let (pins, mut dropped) = (&inner.settings.pins, false);
            for entry in generation.catalog.walk("/") {
                let path = entry.path();
                let wanted = pins.iter().any(|pin| plan::is_below(&path, pin.trim_end_matches('/')) || pin == "/");
                if (!wanted || of_others)
                    && let Some(remote) = inner.remote(&entry, None)
                    && !(wanted && inner.keeps(&remote))
                {
                    dropped |= remote.object.is_pinned_by_dataset();
                    remote.object.unpin();
                }
            }
            dropped
        };
        let dropped = tokio::task::spawn_blocking(work).await.inspect_err(|error| {
            tracing::error!(dataset = self.settings.name, %error, "pins that are no longer wanted were not dropped");
        });
        dropped.unwrap_or(false)
    }

    /// Takes all pins off when more is pinned than the plan says; whether it was. Such are of objects that no catalog names any more, as after a
    /// mount was changed: they can be told from the others only by pinning those anew.
    pub(crate) async fn drop_stray_pins(self: &Arc<Self>) -> bool {
        let (pinned, planned) = (self.pinned_bytes(), self.to_pin.load(Ordering::Relaxed));
        if pinned <= planned {
            return false;
        }
        info!(
            dataset = self.settings.name,
            pinned, planned, "objects that are in the tree no more are pinned: all is pinned anew"
        );
        let inner = self.clone();
        let dropped = tokio::task::spawn_blocking(move || inner.cache.unpin_dataset(&inner.settings.name)).await;
        dropped.is_ok()
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

/// Whether a generation has the object of an entry of another, as it was listed or as it was found since.
fn shows(generation: &Generation, old: &Entry<'_>) -> bool {
    let found = |(_, newer): (u32, Override)| newer.size == old.size() && newer.version == old.version();
    generation.catalog.by_ino(old.ino()).is_some_and(|now| same_object(old, &now))
        || generation.overrides.by_ino(old.ino()).is_some_and(found)
}

fn same_object(old: &Entry<'_>, now: &Entry<'_>) -> bool {
    !now.is_dir()
        && now.size() == old.size()
        && now.version() == old.version()
        && now.mount() == old.mount()
        && now.key() == old.key()
}
