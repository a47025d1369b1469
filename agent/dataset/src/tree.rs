//! The Dataset as the file system sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_catalog::{Entry, inode_number};
use forebay_fetch::{FetchError, FetchErrorKind};
use forebay_fs::{Backing, DirEntry, FsError, Handle, Node, NodeKind, Opened as OpenAnswer, PageCache, Totals, Tree};
use forebay_store::StoreErrorKind;

use crate::backing::CachedFile;
use crate::dataset::Inner;
use crate::generation::Generation;
use crate::handle::{Opened, Version};
use crate::opens::OpenFile;
use crate::overrides::{Override, WORN_OUT};
use crate::{Consistency, Dataset, schedule};

/// An immutable generation may be believed until the kernel is told otherwise; this bounds a message that got lost.
const IMMUTABLE: Duration = Duration::from_secs(3600);

#[async_trait]
impl Tree for Dataset {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        self.inner.find(ino).map(|found| found.node())
    }

    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        let generation = self.inner.current()?;
        let parent = directory(generation.catalog.by_ino(parent).ok_or(FsError::NotFound)?)?;
        let entry = generation.catalog.lookup(parent.index(), name).ok_or(FsError::NotFound)?;
        Ok(latest_node(&generation, &entry))
    }

    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        let found = self.inner.find(dir)?;
        let catalog = &found.generation.catalog;
        let dir = directory(catalog.entry(found.entry).ok_or(FsError::NotFound)?)?;
        let Ok(first) = u32::try_from(from) else { return Ok(()) };
        for (position, entry) in (u64::from(first)..).zip(catalog.children(dir.index(), first)) {
            let node = latest_node(&found.generation, &entry);
            if !each(&DirEntry { name: entry.name().as_bytes(), cookie: position + 1, node }) {
                break;
            }
        }
        Ok(())
    }

    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        let found = self.inner.find(dir)?;
        let catalog = &found.generation.catalog;
        let dir = directory(catalog.entry(found.entry).ok_or(FsError::NotFound)?)?;
        Ok(catalog.entry(dir.parent()).map_or(forebay_fs::ROOT_INO, |parent| parent.ino()))
    }

    fn try_open(&self, ino: u64) -> Option<Result<OpenAnswer, FsError>> {
        if matches!(self.inner.settings.consistency, Consistency::Validate(_)) {
            return None;
        }
        Some(self.inner.find(ino).and_then(|found| self.inner.open_found(&found)))
    }

    async fn open(&self, ino: u64) -> Result<OpenAnswer, FsError> {
        let mut found = self.inner.find(ino)?;
        if matches!(self.inner.settings.consistency, Consistency::Validate(_)) {
            self.inner.validate(&mut found).await?;
            if found.node().ino != ino {
                // Opened under the old number, the new version's bytes would meet pages of the old one. At ESTALE the
                // kernel walks the path once more, asks anew for each name and opens the number it finds now.
                let message = format!("dataset {}: inode {ino} has a newer version", self.inner.settings.name);
                return Err(FsError::Stale { message });
            }
        }
        self.inner.open_found(&found)
    }

    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        let open = self.inner.opens.get(Opened::from_handle(handle)?)?;
        let native = open.file.remote().object.native()?;
        Some(Box::new(CachedFile(native)))
    }

    fn release(&self, handle: Handle) {
        let Some(opened) = Opened::from_handle(handle) else { return };
        self.inner.opens.release(opened);
        if self.inner.generations.current().is_some_and(|current| current.number != opened.generation) {
            self.inner.released.notify_one();
        }
    }

    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        let opened = Opened::from_handle(handle).ok_or(FsError::InvalidHandle)?;
        self.inner.found(opened).map(|found| found.node())
    }

    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        match self.inner.open_file(handle) {
            Ok(open) => open.file.try_read(offset, buf).map(|read| {
                self.inner.count_read(read, read);
                Ok(read)
            }),
            Err(error) => Some(Err(error)),
        }
    }

    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        let open = self.inner.open_file(handle)?;
        if offset == 0
            && let Some(Version::Listed(file)) = Opened::from_handle(handle).map(|opened| opened.file)
        {
            self.inner.missed(&open.generation, file);
        }
        match open.file.read(offset, len as usize).await {
            Ok(bytes) => {
                self.inner.count_read(bytes.len(), 0);
                self.inner.failed_reads.clear(&open.path);
                Ok(bytes)
            }
            Err(error) => Err(self.inner.read_failed(&open.path, &error)),
        }
    }

    fn totals(&self) -> Totals {
        let Some(generation) = self.inner.generations.current() else { return Totals::default() };
        let info = generation.catalog.info();
        Totals { files: info.files, bytes: info.bytes, cached_bytes: self.inner.cached_bytes() }
    }

    fn validity(&self) -> Duration {
        match self.inner.settings.consistency {
            Consistency::Snapshot => IMMUTABLE,
            Consistency::MaxAge(age) => schedule::due_in(age, self.inner.age()),
            Consistency::Validate(_) => Duration::ZERO,
        }
    }

    fn generation_tag(&self) -> u64 {
        self.inner.generations.current().map_or(0, |current| u64::from(current.number))
    }

    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        let found = self.inner.find(ino)?;
        let entry = found.generation.catalog.entry(found.entry).ok_or(FsError::NotFound)?;
        let mut attributes = vec![("user.forebay.generation", found.generation.number.to_string())];
        if let Some(remote) = (!entry.is_dir()).then(|| self.inner.remote(&entry, found.newer())).flatten() {
            attributes.push(("user.forebay.store", remote.reader.id().to_string()));
            attributes.push(("user.forebay.key", remote.key));
            attributes.push(("user.forebay.version", remote.version.to_string()));
            attributes.push(("user.forebay.cached", remote.object.present_bytes().to_string()));
        }
        Ok(attributes)
    }
}

/// A file or directory, in the version that counts.
pub(crate) struct Found {
    generation: Arc<Generation>,
    entry: u32,
    newer: Option<(u32, Override)>,
    listed: Node,
}

impl Found {
    fn newer(&self) -> Option<&Override> {
        self.newer.as_ref().map(|(_, newer)| newer)
    }

    fn node(&self) -> Node {
        self.newer().map_or(self.listed, |newer| newer_node(newer, &self.listed))
    }

    fn opened(&self) -> Opened {
        let file = self.newer.as_ref().map_or(Version::Listed(self.entry), |(index, _)| Version::Override(*index));
        Opened { generation: self.generation.number, file }
    }
}

impl Inner {
    fn current(&self) -> Result<Arc<Generation>, FsError> {
        self.generations
            .current()
            .ok_or_else(|| FsError::Io { message: format!("dataset {}: nothing is listed yet", self.settings.name) })
    }

    /// The node with number `ino` in the current generation, else in the newest one that knows it.
    fn find(&self, ino: u64) -> Result<Found, FsError> {
        self.current()?;
        for generation in self.generations.all() {
            if let Some((index, newer)) = generation.overrides.by_ino(ino) {
                let listed = generation.catalog.entry(newer.entry).map(|entry| node(&entry));
                if let Some(listed) = listed {
                    let (entry, newer) = (newer.entry, Some((index, newer)));
                    return Ok(Found { generation, entry, newer, listed });
                }
            }
            if let Some((entry, listed)) = generation.catalog.by_ino(ino).map(|entry| (entry.index(), node(&entry))) {
                return Ok(Found { generation, entry, newer: None, listed });
            }
        }
        Err(FsError::Stale {
            message: format!("dataset {}: inode {ino} is of a generation that is no longer kept", self.settings.name),
        })
    }

    /// What a handle was opened on.
    fn found(&self, opened: Opened) -> Result<Found, FsError> {
        let generation = self.generations.get(opened.generation).ok_or(FsError::InvalidHandle)?;
        let (entry, newer) = match opened.file {
            Version::Listed(entry) => (entry, None),
            Version::Override(index) => {
                let newer = generation.overrides.get(index).ok_or(FsError::InvalidHandle)?;
                (newer.entry, Some((index, newer)))
            }
        };
        let listed = generation.catalog.entry(entry).map(|entry| node(&entry)).ok_or(FsError::InvalidHandle)?;
        Ok(Found { generation, entry, newer, listed })
    }

    fn open_found(&self, found: &Found) -> Result<OpenAnswer, FsError> {
        let opened = found.opened();
        self.hold(opened, found)?;
        if found.newer.is_none() {
            self.opened(&found.generation, found.entry);
        }
        // An inode number stands for one version, so what the kernel kept of it is right.
        Ok(OpenAnswer { handle: opened.to_handle(), page_cache: PageCache::Keep })
    }

    fn hold(&self, opened: Opened, found: &Found) -> Result<Arc<OpenFile>, FsError> {
        let entry = found.generation.catalog.entry(found.entry).ok_or(FsError::InvalidHandle)?;
        if entry.is_dir() {
            return Err(FsError::IsADirectory);
        }
        let remote = self.remote(&entry, found.newer()).ok_or(FsError::InvalidHandle)?;
        Ok(self.opens.hold(opened, || OpenFile {
            generation: found.generation.clone(),
            file: self.fetcher.open(remote),
            path: entry.path(),
        }))
    }

    /// The open file behind a handle, also one that a former process gave out.
    fn open_file(&self, handle: Handle) -> Result<Arc<OpenFile>, FsError> {
        let opened = Opened::from_handle(handle).ok_or(FsError::InvalidHandle)?;
        match self.opens.get(opened) {
            Some(open) => Ok(open),
            None => self.hold(opened, &self.found(opened)?),
        }
    }

    /// Asks the store for the object's version now; a newer one becomes the file's.
    async fn validate(&self, found: &mut Found) -> Result<(), FsError> {
        let (remote, path) = {
            let entry = found.generation.catalog.entry(found.entry).ok_or(FsError::NotFound)?;
            if entry.is_dir() {
                return Err(FsError::IsADirectory);
            }
            // The newest version known decides, whichever inode number the caller came by.
            found.newer = found.generation.overrides.latest(found.entry);
            (self.remote(&entry, found.newer()).ok_or(FsError::NotFound)?, entry.path())
        };
        let now = match remote.reader.head(&remote.key).await {
            Ok(now) => now,
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                self.stale.notify_one();
                return Err(FsError::NotFound);
            }
            Err(error) => {
                let error = FetchError { label: remote.label, source: error.into() };
                return Err(self.read_failed(&path, &error));
            }
        };
        if now.version == remote.version && now.size == remote.object.size() {
            return Ok(());
        }
        let version = now.version.to_token();
        let ino = inode_number(&path, &version, now.size);
        let newer = Override { entry: found.entry, ino, size: now.size, mtime_ns: now.mtime_ns, version };
        let index = found.generation.overrides.add(newer.clone()).map_err(|error| FsError::Io {
            message: format!("dataset {}: {path}: its new version cannot be noted: {error}", self.settings.name),
        })?;
        found.newer = Some((index, newer));
        if found.generation.overrides.len() > WORN_OUT {
            self.stale.notify_one();
        }
        Ok(())
    }

    /// Notes a failed read for the status and puts it in the file system's words.
    fn read_failed(&self, path: &str, error: &FetchError) -> FsError {
        self.failed_reads.record(self.started.elapsed(), path, error);
        let message = format!("{path}: {error}");
        match error.kind() {
            FetchErrorKind::Stale => {
                if self.settings.consistency != Consistency::Snapshot {
                    self.stale.notify_one();
                }
                FsError::Stale { message }
            }
            FetchErrorKind::Denied => FsError::Denied { message },
            FetchErrorKind::TimedOut => FsError::TimedOut { message },
            FetchErrorKind::Failed => FsError::Io { message },
        }
    }

    fn count_read(&self, bytes: usize, cached: usize) {
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.hit_bytes.fetch_add(cached as u64, Ordering::Relaxed);
    }

    /// Time since the current generation was listed.
    pub(crate) fn age(&self) -> Duration {
        self.generations.current().map_or(Duration::MAX, |current| current.age())
    }
}

fn directory(entry: Entry<'_>) -> Result<Entry<'_>, FsError> {
    if entry.is_dir() { Ok(entry) } else { Err(FsError::NotADirectory) }
}

fn node(entry: &Entry<'_>) -> Node {
    Node {
        ino: entry.ino(),
        kind: if entry.is_dir() { NodeKind::Dir } else { NodeKind::File },
        size: entry.size(),
        mtime_ns: entry.mtime_ns(),
        subdirectories: entry.subdirectories(),
    }
}

/// The entry in its latest version known.
fn latest_node(generation: &Generation, entry: &Entry<'_>) -> Node {
    let listed = node(entry);
    generation.overrides.latest(entry.index()).map_or(listed, |(_, newer)| newer_node(&newer, &listed))
}

fn newer_node(newer: &Override, listed: &Node) -> Node {
    Node { ino: newer.ino, size: newer.size, mtime_ns: newer.mtime_ns, ..*listed }
}
