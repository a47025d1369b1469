//! The in-memory twin of a Dataset's tree: what the real one promises, in a few vectors.

mod files;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backing, DirEntry, FsError, Handle, Node, NodeKind, Opened, PageCache, ROOT_INO, Totals, Tree};

/// Bits of a handle that hold the node's place; the generation stands above.
const PLACE_BITS: u32 = 40;

/// One generation under construction: paths and their contents.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    files: BTreeMap<Vec<u8>, (Bytes, i64)>,
    dirs: BTreeMap<Vec<u8>, ()>,
}

impl Contents {
    /// An empty root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file at `path` (segments joined by `/`, no leading one), modified at `mtime_ns`. Directories on the
    /// way come by themselves.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<[u8]>, content: impl Into<Bytes>, mtime_ns: i64) -> Self {
        self.files.insert(path.as_ref().to_vec(), (content.into(), mtime_ns));
        self
    }

    /// Adds a directory, which may stay empty.
    #[must_use]
    pub fn dir(mut self, path: impl AsRef<[u8]>) -> Self {
        self.dirs.insert(path.as_ref().to_vec(), ());
        self
    }
}

#[derive(Debug)]
struct Place {
    node: Node,
    parent: usize,
    content: Bytes,
    /// Name and place of each child, by name.
    children: Vec<(Vec<u8>, usize)>,
}

#[derive(Debug)]
struct Generation {
    tag: u64,
    places: Vec<Place>,
    by_ino: HashMap<u64, usize>,
    totals: Totals,
}

/// A tree in memory. Generations are replaced whole and all kept, so that every handle stays good.
#[derive(Debug)]
pub struct MemoryTree {
    generations: RwLock<Vec<Arc<Generation>>>,
    validity: Duration,
    files: files::Files,
}

impl MemoryTree {
    /// The tree of `contents`, whose answers may be believed for `validity`.
    #[must_use]
    pub fn new(contents: &Contents, validity: Duration) -> Self {
        Self {
            generations: RwLock::new(vec![Arc::new(Generation::build(contents, 0))]),
            validity,
            files: files::Files::default(),
        }
    }

    /// Makes `contents` the current generation. Files that differ in time, length or their first 4096 bytes get other inode
    /// numbers; directories keep theirs.
    pub fn replace(&self, contents: &Contents) {
        let mut all = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let tag = all.len() as u64;
        all.push(Arc::new(Generation::build(contents, tag)));
    }

    /// Says that `file` has all bytes of inode `ino`, so that it may be read in its place.
    pub fn complete(&self, ino: u64, file: File) {
        self.files.complete(ino, file);
    }

    /// Takes an inode's file back, after asking those who keep it ready. `false` when somebody holds it.
    pub fn take_back(&self, ino: u64) -> bool {
        self.files.take_back(ino)
    }

    /// Whether somebody holds an inode's file, or keeps it ready.
    pub fn is_lent(&self, ino: u64) -> bool {
        self.files.is_lent(ino)
    }

    fn generation(&self, tag: Option<u64>) -> Result<Arc<Generation>, FsError> {
        let all = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let at = tag.map_or(all.len().checked_sub(1), |tag| usize::try_from(tag).ok());
        at.and_then(|at| all.get(at)).map(Arc::clone).ok_or(FsError::InvalidHandle)
    }

    /// The newest generation that has `ino`, and the place there.
    fn find(&self, ino: u64) -> Result<(Arc<Generation>, usize), FsError> {
        let all = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let newest = all.iter().rev().find_map(|generation| Some((Arc::clone(generation), *generation.by_ino.get(&ino)?)));
        newest.ok_or(FsError::NotFound)
    }

    fn opened(&self, handle: Handle) -> Result<(Arc<Generation>, usize), FsError> {
        let generation = self.generation(Some(handle.0 >> PLACE_BITS))?;
        let place = usize::try_from(handle.0 & ((1 << PLACE_BITS) - 1)).map_err(|_| FsError::InvalidHandle)?;
        match generation.places.get(place) {
            Some(found) if !found.node.is_dir() => Ok((generation, place)),
            _ => Err(FsError::InvalidHandle),
        }
    }

    fn open_now(&self, ino: u64) -> Result<Opened, FsError> {
        let (generation, place) = self.find(ino)?;
        if generation.places[place].node.is_dir() {
            return Err(FsError::IsADirectory);
        }
        Ok(Opened { handle: Handle(generation.tag << PLACE_BITS | place as u64), page_cache: PageCache::Keep })
    }
}

impl Generation {
    fn build(contents: &Contents, tag: u64) -> Self {
        let root = Place {
            node: Node { ino: ROOT_INO, kind: NodeKind::Dir, size: 0, mtime_ns: 0, subdirectories: 0 },
            parent: 0,
            content: Bytes::new(),
            children: Vec::new(),
        };
        let mut built = Self { tag, places: vec![root], by_ino: HashMap::from([(ROOT_INO, 0)]), totals: Totals::default() };
        let mut dirs = HashMap::from([(Vec::new(), 0)]);
        for path in contents.dirs.keys() {
            built.directory(path, &mut dirs);
        }
        for (path, (content, mtime_ns)) in &contents.files {
            let (above, name) = split(path);
            let parent = built.directory(above, &mut dirs);
            let ino = number(&[path, &content[..content.len().min(4096)], &mtime_ns.to_le_bytes(), &content.len().to_le_bytes()]);
            let node = Node { ino, kind: NodeKind::File, size: content.len() as u64, mtime_ns: *mtime_ns, subdirectories: 0 };
            built.add(parent, name, node, content.clone());
            built.totals.files += 1;
            built.totals.bytes += node.size;
        }
        built.totals.cached_bytes = built.totals.bytes;
        for place in &mut built.places {
            place.children.sort();
        }
        built
    }

    fn directory(&mut self, path: &[u8], dirs: &mut HashMap<Vec<u8>, usize>) -> usize {
        if let Some(place) = dirs.get(path) {
            return *place;
        }
        let (above, name) = split(path);
        let parent = self.directory(above, dirs);
        let node = Node { ino: number(&[path, b"/"]), kind: NodeKind::Dir, size: 0, mtime_ns: 0, subdirectories: 0 };
        let place = self.add(parent, name, node, Bytes::new());
        self.places[parent].node.subdirectories += 1;
        dirs.insert(path.to_vec(), place);
        place
    }

    fn add(&mut self, parent: usize, name: &[u8], node: Node, content: Bytes) -> usize {
        let place = self.places.len();
        self.places[parent].children.push((name.to_vec(), place));
        self.by_ino.insert(node.ino, place);
        self.places.push(Place { node, parent, content, children: Vec::new() });
        place
    }

    fn dir(&self, place: usize) -> Result<&Place, FsError> {
        let found = &self.places[place];
        if found.node.is_dir() { Ok(found) } else { Err(FsError::NotADirectory) }
    }
}

#[async_trait]
impl Tree for MemoryTree {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        self.find(ino).map(|(generation, place)| generation.places[place].node)
    }

    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        let (generation, place) = self.find(parent)?;
        let children = &generation.dir(place)?.children;
        let at = children.binary_search_by(|(known, _)| known.as_slice().cmp(name)).map_err(|_| FsError::NotFound)?;
        Ok(generation.places[children[at].1].node)
    }

    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        let (generation, place) = self.find(dir)?;
        let children = &generation.dir(place)?.children;
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(children.len());
        for (at, (name, child)) in children.iter().enumerate().skip(start) {
            if !each(&DirEntry { name, cookie: at as u64 + 1, node: generation.places[*child].node }) {
                break;
            }
        }
        Ok(())
    }

    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        let (generation, place) = self.find(dir)?;
        let above = generation.dir(place)?.parent;
        Ok(generation.places[above].node.ino)
    }

    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        Some(self.open_now(ino))
    }

    async fn open(&self, ino: u64) -> Result<Opened, FsError> {
        self.open_now(ino)
    }

    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        self.files.lend(self.handle_node(handle).ok()?.ino)
    }

    fn release(&self, _handle: Handle) {}

    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        self.opened(handle).map(|(generation, place)| generation.places[place].node)
    }

    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        Some(self.opened(handle).map(|(generation, place)| {
            let content = &generation.places[place].content;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
            let part = &content[start..content.len().min(start.saturating_add(buf.len()))];
            buf[..part.len()].copy_from_slice(part);
            part.len()
        }))
    }

    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        let (generation, place) = self.opened(handle)?;
        let content = &generation.places[place].content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        Ok(content.slice(start..content.len().min(start.saturating_add(len as usize))))
    }

    fn totals(&self) -> Totals {
        self.generation(None).map(|generation| generation.totals).unwrap_or_default()
    }

    fn validity(&self) -> Duration {
        self.validity
    }

    fn generation_tag(&self) -> u64 {
        self.generation(None).map_or(0, |generation| generation.tag)
    }

    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        let node = self.node(ino)?;
        Ok(vec![("user.forebay.ino", node.ino.to_string())])
    }
}

/// A path's directory and last segment.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// A 63-bit FNV-1a of `parts`, never 0 or 1: the same in every process.
fn number(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    (hash >> 1).max(ROOT_INO + 1)
}
