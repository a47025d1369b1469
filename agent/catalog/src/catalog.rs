use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::entry::Entry;
use crate::error::IoContext;
use crate::layout::{self, FORMAT, HEADER_LEN, Header, HeaderError, Meta, RECORD_LEN, Record, Section};
use crate::walk::{Children, Walk};
use crate::{CatalogError, MountSpec, MountTotals, Report};

/// What a catalog says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The dataset's name.
    pub dataset: String,
    /// Number of the generation.
    pub generation: u64,
    /// When the listing began, nanoseconds since the epoch.
    pub listed_at_ns: i64,
    /// Files in the tree.
    pub files: u64,
    /// Sum of the files' sizes in bytes.
    pub bytes: u64,
    /// Directories in the tree, the root included.
    pub directories: u64,
    /// The mounts; [`Entry::mount`] is a position in this list.
    pub mounts: Vec<MountSpec>,
    /// Files and bytes of each mount, in the order of `mounts`.
    pub totals: Vec<MountTotals>,
}

/// One immutable generation of a dataset's tree, read from its file through a memory map.
///
/// Cloning is cheap. Opening takes memory for mounts and report only, whatever the number of files. A file that was
/// damaged after [`Catalog::open`] looked at its header gives missing entries or wrong names, never a panic, an
/// endless loop or a read outside of the file; [`Catalog::verify`] finds every such damage.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    map: Mmap,
    header: Header,
    info: Info,
    report: Report,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("path", &self.inner.path).field("info", &self.inner.info).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Opens a catalog that a [`crate::Builder`] wrote, here or on another node. Nothing may write to the file or
    /// cut it short while a `Catalog` of it lives; replacing it by rename and removing it are fine.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when header or description are not a catalog's, [`CatalogError::Format`] for
    /// another version's, [`CatalogError::Io`] when it cannot be read. Records are not looked at: see
    /// [`Catalog::verify`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CatalogError> {
        let path = path.as_ref();
        let damaged = |problem: String| CatalogError::Damaged { path: path.to_owned(), problem };
        let file = File::open(path).during("open the catalog", path)?;
        if file.metadata().during("open the catalog", path)?.len() < HEADER_LEN as u64 {
            return Err(damaged("it is shorter than a header".into()));
        }
        // SAFETY: the bytes behind a map must not change and the file must not shrink while it is mapped. A catalog
        // is private to the agent, is complete under its name from the first moment (temporary name, sync, rename),
        // is never written to afterwards, and goes only by rename or removal, which leave a mapped file as it is. One that comes from
        // another node is mapped under its temporary name, and let go of before it is written to (`incoming.rs`).
        let map = unsafe { Mmap::map(&file) }.during("map the catalog", path)?;
        let header = Header::decode(&map, map.len() as u64).map_err(|e| match e {
            HeaderError::Format(found) => CatalogError::Format { path: path.to_owned(), found, supported: FORMAT },
            HeaderError::Damaged(problem) => damaged(problem.to_owned()),
        })?;
        let Meta { dataset, generation, listed_at_ns, mounts, totals, files, directories, bytes, report } =
            meta(&map, &header).map_err(damaged)?;
        if totals.len() != mounts.len() {
            return Err(damaged("its description has totals for other mounts".into()));
        }
        let info = Info { dataset, generation, listed_at_ns, files, bytes, directories, mounts, totals };
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), map, header, info, report }) })
    }

    /// Reads the whole file and compares every checksum.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] names the part that was changed.
    pub fn verify(&self) -> Result<(), CatalogError> {
        use Section::{Buckets, Heap, Inos, Meta, Records};
        for part in [Records, Buckets, Inos, Heap, Meta] {
            if crc32c::crc32c(section(&self.inner.map, &self.inner.header, part)) != self.inner.header.section(part).crc {
                let problem = format!("the checksum of its section {part:?} is wrong");
                return Err(CatalogError::Damaged { path: self.inner.path.clone(), problem });
            }
        }
        Ok(())
    }

    /// Header and description as they stand in the file.
    pub(crate) fn stored(&self) -> Result<(Header, Meta), CatalogError> {
        let Inner { path, map, header, .. } = &*self.inner;
        let meta = meta(map, header).map_err(|problem| CatalogError::Damaged { path: path.clone(), problem })?;
        Ok((header.clone(), meta))
    }

    /// What the catalog says of itself.
    pub fn info(&self) -> &Info {
        &self.inner.info
    }

    /// What became of the objects that were listed.
    pub fn report(&self) -> &Report {
        &self.inner.report
    }

    /// Where the file was when it was opened.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.inner.header.file_len
    }

    /// Files and directories; indexes are below this.
    pub fn len(&self) -> u32 {
        self.inner.header.entries
    }

    /// Always `false`: there is a root.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The root directory, index 0.
    pub fn root(&self) -> Entry<'_> {
        self.entry(0).unwrap_or_else(|| Entry::placeholder_root(self))
    }

    /// The entry at `index`; `None` if there is none. Indexes are those of this generation alone.
    pub fn entry(&self, index: u32) -> Option<Entry<'_>> {
        Entry::new(self, index, self.record(index)?)
    }

    /// The entry with inode number `ino`.
    pub fn by_ino(&self, ino: u64) -> Option<Entry<'_>> {
        // A number of more than 63 bits has a bucket behind the last.
        let bucket = usize::try_from(layout::bucket(ino, self.len())).ok()?;
        let starts = self.section(Section::Buckets).as_chunks::<4>().0;
        let start = u32::from_le_bytes(*starts.get(bucket)?) as usize;
        let end = u32::from_le_bytes(*starts.get(bucket + 1)?) as usize;
        let inos = self.section(Section::Inos).as_chunks::<4>().0.get(start..end)?;
        let index_at = |at: usize| u32::from_le_bytes(inos[at]);
        let records = self.records();
        let found =
            search(0..inos.len(), |at| Some(layout::u64_at(records.get(index_at(at) as usize)?, layout::INO_AT).cmp(&ino)))?;
        self.entry(index_at(found))
    }

    /// The entry at `path`, absolute or relative to the root; `/`, the empty path and a `/` at the end are fine.
    pub fn by_path(&self, path: &str) -> Option<Entry<'_>> {
        let mut entry = self.root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            entry = self.lookup(entry.index(), name.as_bytes())?;
        }
        Some(entry)
    }

    /// The entry called `name` in the directory at index `dir`.
    pub fn lookup(&self, dir: u32, name: &[u8]) -> Option<Entry<'_>> {
        let range = self.entry(dir)?.child_range();
        let found = search(range.start as usize..range.end as usize, |at| Some(self.name_at(at)?.cmp(name)))?;
        self.entry(u32::try_from(found).ok()?).filter(|child| child.parent() == dir)
    }

    /// The entries of the directory at index `dir`, sorted by the bytes of their names, from the `from`th on.
    /// Nothing for a file or an index that does not exist.
    pub fn children(&self, dir: u32, from: u32) -> Children<'_> {
        Children::new(self, dir, from)
    }

    /// Files at or below `path`, depth first, each directory in the order of [`Catalog::children`]. Nothing if
    /// `path` does not exist. Takes no memory.
    pub fn walk(&self, path: &str) -> Walk<'_> {
        Walk::new(self, self.by_path(path))
    }

    pub(crate) fn record(&self, index: u32) -> Option<Record> {
        self.records().get(index as usize).map(Record::decode)
    }

    fn records(&self) -> &[[u8; RECORD_LEN]] {
        self.section(Section::Records).as_chunks().0
    }

    /// The bytes of an entry's name, without the checks that an [`Entry`] takes: searches compare many names and
    /// return one.
    fn name_at(&self, index: usize) -> Option<&[u8]> {
        let record = self.records().get(index)?;
        let start = usize::try_from(layout::u64_at(record, layout::HEAP_AT)).ok()?;
        self.heap().get(start..start.checked_add(usize::from(record[layout::NAME_LEN_AT]))?)
    }

    /// Whether both are clones of one opened catalog.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn heap(&self) -> &[u8] {
        self.section(Section::Heap)
    }

    fn section(&self, part: Section) -> &[u8] {
        section(&self.inner.map, &self.inner.header, part)
    }
}

/// Binary search for the position in `range` that compares equal; ends early where `compare` finds no entry.
fn search(range: Range<usize>, compare: impl Fn(usize) -> Option<std::cmp::Ordering>) -> Option<usize> {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle)? {
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

/// The description; an error says what is wrong with it.
fn meta(map: &Mmap, header: &Header) -> Result<Meta, String> {
    let bytes = section(map, header, Section::Meta);
    if crc32c::crc32c(bytes) != header.section(Section::Meta).crc {
        return Err("the checksum of its description is wrong".into());
    }
    serde_json::from_slice(bytes).map_err(|error| format!("its description: {error}"))
}

/// The bytes of a section, which the header's check found to lie within the map.
fn section<'a>(map: &'a Mmap, header: &Header, part: Section) -> &'a [u8] {
    let extent = header.section(part);
    let bounds = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    map.get(bounds(extent.offset)..bounds(extent.offset.saturating_add(extent.len))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
