use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::CatalogError;
use crate::error::IoContext;
use crate::layout::{HEADER_LEN, RECORD_LEN, Record, RecordKind};

const SEAL: &str = "link the directories of the catalog";
/// Records held at a time on either side.
const CHUNK: u32 = 1024;

/// The later of two times, where 0 says nothing.
pub(super) fn newest(a: i64, b: i64) -> i64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        _ => a.max(b),
    }
}

/// Gives each directory its children, number of subdirectories and time: the newest of everything below it and of
/// its own markers, or `listed_at_ns` where nothing there has a time.
///
/// Works upwards from the deepest level, since a directory's time needs those of its subdirectories. The children of
/// one level's directories, in order, are the next level, so both are read forwards and once.
pub(super) fn seal(file: &File, path: &Path, levels: &[u32], listed_at_ns: i64) -> Result<(), CatalogError> {
    let len = file.metadata().during(SEAL, path)?.len();
    let entries = u32::try_from((len - HEADER_LEN as u64) / RECORD_LEN as u64).map_err(|_| CatalogError::TooManyEntries)?;
    let end_of = |depth: usize| levels.get(depth + 1).copied().unwrap_or(entries);
    for (depth, &start) in levels.iter().enumerate().rev() {
        let mut parents = Window::new(file, path);
        let mut children = Window::new(file, path);
        let mut child = end_of(depth);
        let children_end = if depth + 1 < levels.len() { end_of(depth + 1) } else { child };
        for index in start..end_of(depth) {
            let mut record = parents.get(index, end_of(depth))?;
            if !matches!(record.kind, RecordKind::Directory { .. }) {
                continue;
            }
            let (first, mut subdirectories, mut time) = (child, 0, record.mtime_ns);
            while child < children_end {
                let below = children.get(child, children_end)?;
                if below.parent != index {
                    break;
                }
                subdirectories += u32::from(matches!(below.kind, RecordKind::Directory { .. }));
                time = newest(time, below.mtime_ns);
                child += 1;
            }
            record.kind = RecordKind::Directory { first, count: child - first, subdirectories };
            record.mtime_ns = time;
            parents.set(index, &record);
        }
        parents.flush()?;
    }
    settle(file, path, entries, listed_at_ns)
}

/// Directories without a time get the listing's, once no other looks at theirs any more.
fn settle(file: &File, path: &Path, entries: u32, listed_at_ns: i64) -> Result<(), CatalogError> {
    let mut records = Window::new(file, path);
    for index in 0..entries {
        let mut record = records.get(index, entries)?;
        if record.mtime_ns == 0 && matches!(record.kind, RecordKind::Directory { .. }) {
            record.mtime_ns = listed_at_ns;
            records.set(index, &record);
        }
    }
    records.flush()
}

/// A few records of the file in memory; moves forwards.
struct Window<'a> {
    file: &'a File,
    path: &'a Path,
    start: u32,
    bytes: Vec<u8>,
    dirty: bool,
}

impl<'a> Window<'a> {
    fn new(file: &'a File, path: &'a Path) -> Self {
        Self { file, path, start: 0, bytes: Vec::new(), dirty: false }
    }

    fn position(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.start) * RECORD_LEN as u64
    }

    /// The record at `index`; none at or behind `end` is read.
    fn get(&mut self, index: u32, end: u32) -> Result<Record, CatalogError> {
        let at = index.wrapping_sub(self.start) as usize;
        if let Some(bytes) = self.bytes.as_chunks::<RECORD_LEN>().0.get(at) {
            return Ok(Record::decode(bytes));
        }
        self.flush()?;
        self.start = index;
        self.bytes.resize(CHUNK.min(end - index) as usize * RECORD_LEN, 0);
        let position = self.position();
        self.file.read_exact_at(&mut self.bytes, position).during(SEAL, self.path)?;
        Ok(self.bytes.first_chunk().map_or_else(|| Record::decode(&[0; RECORD_LEN]), Record::decode))
    }

    /// Replaces the record that [`Window::get`] gave last.
    fn set(&mut self, index: u32, record: &Record) {
        let at = index.wrapping_sub(self.start) as usize;
        if let Some(bytes) = self.bytes.as_chunks_mut::<RECORD_LEN>().0.get_mut(at) {
            *bytes = record.encode();
            self.dirty = true;
        }
    }

    fn flush(&mut self) -> Result<(), CatalogError> {
        if std::mem::take(&mut self.dirty) {
            self.file.write_all_at(&self.bytes, self.position()).during(SEAL, self.path)?;
        }
        Ok(())
    }
}
