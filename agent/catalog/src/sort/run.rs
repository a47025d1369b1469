use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::CatalogError;
use crate::error::IoContext;

const WRITE: &str = "write a sorted run in";
const READ: &str = "read a sorted run in";

/// A sorted sequence in an anonymous file, which vanishes with its descriptor however the process ends.
///
/// Items are front-coded: bytes shared with the item before (u16), length of the rest (u16), the rest. Paths of one
/// directory share most of theirs.
pub(super) struct Run {
    file: File,
    items: u64,
    dir: PathBuf,
}

pub(super) struct RunWriter {
    out: BufWriter<File>,
    previous: Vec<u8>,
    items: u64,
    dir: PathBuf,
    collapsible: fn(&[u8]) -> bool,
}

impl RunWriter {
    pub(super) fn new(dir: &Path, buffer: usize, collapsible: fn(&[u8]) -> bool) -> Result<Self, CatalogError> {
        let file = tempfile::tempfile_in(dir).during("create a sorted run in", dir)?;
        let out = BufWriter::with_capacity(buffer, file);
        Ok(Self { out, previous: Vec::new(), items: 0, dir: dir.to_owned(), collapsible })
    }

    /// Items come in order.
    pub(super) fn push(&mut self, item: &[u8]) -> Result<(), CatalogError> {
        let shared = self.previous.iter().zip(item).take_while(|(a, b)| a == b).count();
        if self.items > 0 && shared == item.len() && shared == self.previous.len() && (self.collapsible)(item) {
            return Ok(());
        }
        let rest = &item[shared..];
        let mut lengths = [0; 4];
        #[expect(clippy::cast_possible_truncation, reason = "items are at most MAX_ITEM bytes")]
        {
            lengths[..2].copy_from_slice(&(shared as u16).to_le_bytes());
            lengths[2..].copy_from_slice(&(rest.len() as u16).to_le_bytes());
        }
        self.out.write_all(&lengths).and_then(|()| self.out.write_all(rest)).during(WRITE, &self.dir)?;
        self.previous.truncate(shared);
        self.previous.extend_from_slice(rest);
        self.items += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Run, CatalogError> {
        let file = self.out.into_inner().map_err(|e| e.into_error()).during(WRITE, &self.dir)?;
        Ok(Run { file, items: self.items, dir: self.dir })
    }
}

/// Ordered by current item, smallest greatest, for a max-heap.
pub(super) struct RunReader {
    input: BufReader<File>,
    item: Vec<u8>,
    left: u64,
    dir: PathBuf,
}

impl RunReader {
    pub(super) fn new(mut run: Run, buffer: usize) -> Result<Self, CatalogError> {
        run.file.rewind().during(READ, &run.dir)?;
        let input = BufReader::with_capacity(buffer, run.file);
        Ok(Self { input, item: Vec::new(), left: run.items, dir: run.dir })
    }

    /// Moves to the next item; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, CatalogError> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let mut lengths = [0; 4];
        self.input.read_exact(&mut lengths).during(READ, &self.dir)?;
        let shared = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
        let rest = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
        self.item.resize(shared + rest, 0);
        self.input.read_exact(&mut self.item[shared..]).during(READ, &self.dir)?;
        Ok(true)
    }

    pub(super) fn item(&self) -> &[u8] {
        &self.item
    }
}

impl Ord for RunReader {
    fn cmp(&self, other: &Self) -> Ordering {
        other.item.cmp(&self.item)
    }
}
impl PartialOrd for RunReader {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for RunReader {
    fn eq(&self, other: &Self) -> bool {
        self.item == other.item
    }
}
impl Eq for RunReader {}
