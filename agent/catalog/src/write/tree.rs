use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::IoContext;
use crate::fifo::Fifo;
use crate::ino::{self, ROOT_INO};
use crate::item::{self, FileTail, ItemPath, Tail};
use crate::layout::{Record, RecordKind};
use crate::mounts::{MountTable, below};
use crate::sort::Sorter;
use crate::tally::Tally;
use crate::{BuilderConfig, CatalogError, Fate, MountTotals, NO_MOUNT, token};

use super::WRITE;
use super::numbers::{self, PAIR};
use super::seal::newest;

/// Writes records and heap from the sorted items, deciding between items of one path.
pub(super) struct TreeWriter<'a> {
    records: BufWriter<&'a File>,
    heap: BufWriter<File>,
    heap_len: u64,
    path: &'a Path,
    mounts: MountTable,
    hash_bits: u32,
    inos: Sorter,
    /// Directories of the depth being written and of the one above, waiting for their children.
    waiting: Fifo,
    /// The directory whose children come now, once there is one.
    parent: Option<u32>,
    parent_names: Vec<u8>,
    levels: Vec<u32>,
    entries: u32,
    files: u64,
    directories: u64,
    bytes: u64,
    totals: Vec<MountTotals>,
    group: Group,
    spelled: String,
}

/// The items of one path seen so far.
#[derive(Default)]
struct Group {
    open: bool,
    depth: u16,
    names: Vec<u8>,
    directory: Option<i64>,
    /// Tail of the first file: the one that is shown, unless there is a directory.
    file: Option<Vec<u8>>,
}

/// What one pass over the items leaves behind.
pub(super) struct Built {
    /// Unlinked; positions are those of the heap section.
    pub(super) heap: File,
    /// (ino, index) of every entry but the root, natural numbers.
    pub(super) inos: Sorter,
    /// Index of the first entry of each depth.
    pub(super) levels: Vec<u32>,
    pub(super) entries: u32,
    pub(super) files: u64,
    pub(super) directories: u64,
    pub(super) bytes: u64,
    /// In the order of the mounts.
    pub(super) totals: Vec<MountTotals>,
}

impl<'a> TreeWriter<'a> {
    /// Records go to `file` from where a header ends.
    pub(super) fn new(
        file: &'a File,
        path: &'a Path,
        work: &Path,
        config: &BuilderConfig,
        hash_bits: u32,
    ) -> Result<Self, CatalogError> {
        (&mut &*file).seek(SeekFrom::End(0)).during(WRITE, path)?;
        let heap = tempfile::tempfile_in(work).during("create a file in", work)?;
        Ok(Self {
            records: BufWriter::with_capacity(64 << 10, file),
            heap: BufWriter::with_capacity(64 << 10, heap),
            heap_len: 0,
            path,
            mounts: MountTable::new(&config.mounts)?,
            hash_bits,
            inos: Sorter::new(work, config.memory / 2, PAIR, |_| false),
            waiting: Fifo::new(work)?,
            parent: None,
            parent_names: Vec::new(),
            levels: Vec::new(),
            entries: 0,
            files: 0,
            directories: 0,
            bytes: 0,
            totals: vec![MountTotals::default(); config.mounts.len()],
            group: Group::default(),
            spelled: String::new(),
        })
    }

    /// Takes the next item in order.
    pub(super) fn push(&mut self, item: &[u8], tally: &mut Tally) -> Result<(), CatalogError> {
        let parsed = item::split(item).and_then(|(at, tail)| Some((at, tail, item::parse_tail(tail)?)));
        let Some((at, bytes, tail)) = parsed else { return Err(self.broken("an item of the sort cannot be read")) };
        if !self.group.open || at.depth != self.group.depth || at.names != self.group.names {
            self.close(tally)?;
            self.group.open = true;
            self.group.depth = at.depth;
            self.group.names.clear();
            self.group.names.extend_from_slice(at.names);
        }
        match tail {
            Tail::Directory { mtime_ns } => {
                self.group.directory = Some(newest(self.group.directory.unwrap_or(0), mtime_ns));
            }
            Tail::File(file) => match &self.group.file {
                None => self.group.file = Some(bytes.to_vec()),
                Some(first) => {
                    at.spell(&mut self.spelled);
                    let fate = rival(first, bytes, file.key);
                    tally.record(fate, file.mount, self.key(&file), Some(&self.spelled));
                }
            },
        }
        Ok(())
    }

    pub(super) fn finish(mut self, tally: &mut Tally) -> Result<Built, CatalogError> {
        self.close(tally)?;
        self.records.flush().during(WRITE, self.path)?;
        let heap = self.heap.into_inner().map_err(|e| e.into_error()).during(WRITE, self.path)?;
        Ok(Built {
            heap,
            inos: self.inos,
            levels: self.levels,
            entries: self.entries,
            files: self.files,
            directories: self.directories,
            bytes: self.bytes,
            totals: self.totals,
        })
    }

    /// Writes the entry of the group that ends.
    fn close(&mut self, tally: &mut Tally) -> Result<(), CatalogError> {
        if !std::mem::take(&mut self.group.open) {
            return Ok(());
        }
        let directory = self.group.directory.take();
        let tail = self.group.file.take();
        let names = std::mem::take(&mut self.group.names);
        let at = ItemPath { depth: self.group.depth, names: &names };
        at.spell(&mut self.spelled);
        let file = tail.as_deref().and_then(item::parse_tail);
        if let Some(Tail::File(file)) = file {
            let fate = match (directory, file.key) {
                (Some(_), _) => Fate::FileAndPrefix,
                (None, None) => Fate::Shown,
                (None, Some(_)) => Fate::Collapsed,
            };
            tally.record(fate, file.mount, self.key(&file), Some(&self.spelled));
            if directory.is_none() {
                self.write_file(at, &file)?;
            }
        }
        if let Some(mtime_ns) = directory {
            self.write_directory(at, mtime_ns)?;
        }
        self.group.names = names;
        Ok(())
    }

    /// The key of a file at the path in `spelled`.
    fn key<'b>(&'b self, file: &FileTail<'b>) -> &'b str {
        file.key.unwrap_or_else(|| below(self.mounts.root(file.mount).unwrap_or_default(), &self.spelled))
    }

    fn write_file(&mut self, at: ItemPath<'_>, file: &FileTail<'_>) -> Result<(), CatalogError> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
        if let Some(totals) = self.totals.get_mut(usize::from(file.mount)) {
            totals.files += 1;
            totals.bytes = totals.bytes.saturating_add(file.size);
        }
        let key = file.key.unwrap_or_default();
        let kind = RecordKind::File {
            size: file.size,
            has_key: file.key.is_some(),
            key_len: self.short(key.len())?,
            token_kind: file.token_kind,
            token_len: self.short(file.token.len())?,
        };
        let heap = [at.parent().1, key.as_bytes(), file.token];
        let version = token::decode(file.token_kind, file.token, file.mtime_ns);
        let natural = ino::file_input(self.spelled.as_bytes(), &version, file.size);
        self.write(at, file.mount, file.mtime_ns, kind, &natural, &heap)?;
        Ok(())
    }

    fn write_directory(&mut self, at: ItemPath<'_>, mtime_ns: i64) -> Result<(), CatalogError> {
        self.directories += 1;
        let mount = self.mounts.owner(&self.spelled).unwrap_or(NO_MOUNT);
        let kind = RecordKind::Directory { first: 0, count: 0, subdirectories: 0 };
        let natural = self.spelled.clone().into_bytes();
        let index = self.write(at, mount, mtime_ns, kind, &natural, &[at.parent().1])?;
        self.waiting.push(index, at.names)
    }

    fn write(
        &mut self,
        at: ItemPath<'_>,
        mount: u16,
        mtime_ns: i64,
        kind: RecordKind,
        natural: &[u8],
        heap: &[&[u8]],
    ) -> Result<u32, CatalogError> {
        let index = self.entries;
        self.entries = self.entries.checked_add(1).ok_or(CatalogError::TooManyEntries)?;
        if usize::from(at.depth) == self.levels.len() {
            self.levels.push(index);
        }
        let (parent, name) = at.parent();
        while at.depth > 0 && (self.parent.is_none() || self.parent_names != parent) {
            // Each file brings its ancestors along, so the parent is among those waiting, and in this order.
            self.parent = self.waiting.pop(&mut self.parent_names)?;
            if self.parent.is_none() {
                return Err(self.broken("an entry's directory is missing"));
            }
        }
        let ino = match at.depth {
            0 => ROOT_INO,
            _ => ino::candidate(natural, 0, self.hash_bits),
        };
        if at.depth > 0 {
            self.inos.push(&numbers::encode(ino, index))?;
        }
        let name_len = u8::try_from(name.len()).map_err(|_| self.broken("a name is too long"))?;
        let record = Record { ino, mtime_ns, heap: self.heap_len, parent: self.parent.unwrap_or(0), mount, name_len, kind };
        self.records.write_all(&record.encode()).during(WRITE, self.path)?;
        for part in heap {
            self.heap.write_all(part).during(WRITE, self.path)?;
            self.heap_len += part.len() as u64;
        }
        Ok(index)
    }

    fn short(&self, len: usize) -> Result<u16, CatalogError> {
        u16::try_from(len).map_err(|_| self.broken("a key or version is too long"))
    }

    /// Cannot happen while items come from the builder and temporary files stay as written.
    fn broken(&self, problem: &str) -> CatalogError {
        let problem = format!("it could not be built: {problem}; the disk may have changed a temporary file");
        CatalogError::Damaged { path: self.path.to_owned(), problem }
    }
}

/// The fate of a file that is not the first of its path.
fn rival(first: &[u8], other: &[u8], key: Option<&str>) -> Fate {
    if first == other {
        return Fate::Repeated;
    }
    let first_key = match item::parse_tail(first) {
        Some(Tail::File(file)) => file.key,
        _ => None,
    };
    if first_key == key { Fate::Superseded } else { Fate::Ambiguous }
}
