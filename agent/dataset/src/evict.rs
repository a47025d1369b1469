//! Drops cached data that somebody asked to be dropped.

use forebay_fetch::Remote;

use crate::Dataset;
use crate::generation::Generation;

impl Dataset {
    /// Drops what is cached and not pinned of the files at or below `paths`, in all versions known; without paths or with `/`, all of
    /// the Dataset. The bytes freed. What is prefetched comes again in time, and so does what is read meanwhile.
    ///
    /// It blocks: for paths it reads the parts of the catalog that they name.
    pub fn evict(&self, paths: &[&str]) -> u64 {
        let inner = &self.inner;
        if paths.is_empty() || paths.contains(&"/") {
            return inner.cache.evict_dataset(&inner.settings.name);
        }
        let mut freed = 0;
        for generation in inner.generations.all() {
            for path in paths {
                freed += self.evict_below(&generation, path);
            }
        }
        freed
    }

    fn evict_below(&self, generation: &Generation, path: &str) -> u64 {
        let mut freed = 0;
        for entry in generation.catalog.walk(path) {
            let newer = generation.overrides.latest(entry.index()).map(|(_, newer)| newer);
            let versions = [self.inner.remote(&entry, None), newer.and_then(|newer| self.inner.remote(&entry, Some(&newer)))];
            let unpinned = |remote: &Remote| !remote.object.is_pinned();
            freed += versions.into_iter().flatten().filter(unpinned).map(|remote| remote.object.evict()).sum::<u64>();
        }
        freed
    }
}
