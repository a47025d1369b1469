use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::CatalogError;
use crate::error::IoContext;
use crate::ino::{self, ROOT_INO};
use crate::layout::{self, HEADER_LEN, INO_AT, RECORD_LEN, Record};
use crate::sort::Sorter;

use super::WRITE;

const PAIRS: &str = "sort inode numbers in";
/// An inode number and the entry that has it, big-endian, as the sorter orders them.
pub(super) const PAIR: usize = 12;
/// Paths that may collide before the build gives up. By chance, ten million paths have a collision once in 100,000
/// datasets; each one costs memory.
const MAX_COLLISIONS: usize = 65_536;
/// Tries to find a free number for one path.
const MAX_ATTEMPTS: u32 = 1 << 16;

/// Every entry's final inode number, sorted, in a file.
pub(super) struct Numbers {
    pairs: File,
    /// Entries in `pairs`, those that lost their natural number among them.
    count: u32,
    /// Number and entry of those that lost.
    moved: BTreeMap<u64, u32>,
    /// The entries in `moved`.
    losers: Vec<u32>,
    work: PathBuf,
}

/// Sorts the natural numbers in `inos`, finds another for each path whose own is taken, and patches that into its
/// record.
///
/// Of several paths with one number the first in breadth-first order keeps it. The others, in that order, take the
/// first of their further candidates that no path has. So numbers depend on the set of paths alone.
pub(super) fn assign(
    inos: Sorter,
    file: &File,
    heap: &File,
    path: &Path,
    work: &Path,
    hash_bits: u32,
) -> Result<Numbers, CatalogError> {
    let mut sorted = inos.finish()?;
    let pairs = tempfile::tempfile_in(work).during(PAIRS, work)?;
    let mut out = BufWriter::with_capacity(64 << 10, pairs);
    let mut losers = Vec::new();
    let mut count = 1;
    out.write_all(&encode(ROOT_INO, 0)).during(PAIRS, work)?;
    let mut last = ROOT_INO;
    while let Some(item) = sorted.next()? {
        let (ino, index) = decode(item);
        if ino == last || !ino::is_free_for_paths(ino) {
            losers.push(index);
            if losers.len() > MAX_COLLISIONS {
                return Err(CatalogError::InodeCollisions { collisions: losers.len() });
            }
            continue;
        }
        last = ino;
        out.write_all(&encode(ino, index)).during(PAIRS, work)?;
        count += 1;
    }
    let pairs = out.into_inner().map_err(|e| e.into_error()).during(PAIRS, work)?;
    let mut numbers = Numbers { pairs, count, moved: BTreeMap::new(), losers, work: work.to_owned() };
    numbers.losers.sort_unstable();
    for index in numbers.losers.clone() {
        let name = path_of(file, heap, index).during("read back the catalog", path)?;
        let ino = numbers.free(&name, hash_bits)?;
        numbers.moved.insert(ino, index);
        let at = HEADER_LEN as u64 + u64::from(index) * RECORD_LEN as u64 + INO_AT as u64;
        file.write_all_at(&ino.to_le_bytes(), at).during(WRITE, path)?;
    }
    Ok(numbers)
}

impl Numbers {
    fn free(&self, path: &[u8], hash_bits: u32) -> Result<u64, CatalogError> {
        for attempt in 1..MAX_ATTEMPTS {
            let ino = ino::candidate(path, attempt, hash_bits);
            if ino::is_free_for_paths(ino) && !self.moved.contains_key(&ino) && !self.is_natural(ino)? {
                return Ok(ino);
            }
        }
        Err(CatalogError::InodeCollisions { collisions: self.losers.len() })
    }

    /// Whether some path has `ino` by its own right.
    fn is_natural(&self, ino: u64) -> Result<bool, CatalogError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut pair = [0; PAIR];
            self.pairs.read_exact_at(&mut pair, u64::from(middle) * PAIR as u64).during(PAIRS, &self.work)?;
            match decode(&pair).0.cmp(&ino) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(false)
    }

    fn entries(&self) -> u32 {
        // Each entry is in one of the two; their sum was counted in 32 bits.
        self.count.saturating_add(u32::try_from(self.moved.len()).unwrap_or(u32::MAX))
    }

    /// Calls `each` with every (ino, index) in order.
    fn for_each(&self, mut each: impl FnMut(u64, u32) -> std::io::Result<()>) -> Result<(), CatalogError> {
        let mut input = BufReader::with_capacity(64 << 10, &self.pairs);
        input.rewind().during(PAIRS, &self.work)?;
        let mut moved = self.moved.iter().map(|(&ino, &index)| (ino, index)).peekable();
        for _ in 0..self.count {
            let mut pair = [0; PAIR];
            input.read_exact(&mut pair).during(PAIRS, &self.work)?;
            let (ino, index) = decode(&pair);
            while let Some((ino, index)) = moved.next_if(|&(other, _)| other < ino) {
                each(ino, index).during(PAIRS, &self.work)?;
            }
            each(ino, index).during(PAIRS, &self.work)?;
        }
        moved.try_for_each(|(ino, index)| each(ino, index)).during(PAIRS, &self.work)
    }

    /// Writes for each bucket the position of its first number, and behind them the number of entries.
    pub(super) fn write_buckets(&self, out: &mut impl Write) -> Result<(), CatalogError> {
        let entries = self.entries();
        let (mut next, mut position) = (0, 0u32);
        self.for_each(|ino, _| {
            while next <= layout::bucket(ino, entries) {
                out.write_all(&position.to_le_bytes())?;
                next += 1;
            }
            position += 1;
            Ok(())
        })?;
        for _ in next..=layout::buckets(entries) {
            out.write_all(&position.to_le_bytes()).during(PAIRS, &self.work)?;
        }
        out.flush().during(PAIRS, &self.work)
    }

    /// Writes the entries in order of their numbers.
    pub(super) fn write_inos(&self, out: &mut impl Write) -> Result<(), CatalogError> {
        self.for_each(|_, index| out.write_all(&index.to_le_bytes()))?;
        out.flush().during(PAIRS, &self.work)
    }
}

pub(super) fn encode(ino: u64, index: u32) -> [u8; PAIR] {
    let mut pair = [0; PAIR];
    pair[..8].copy_from_slice(&ino.to_be_bytes());
    pair[8..].copy_from_slice(&index.to_be_bytes());
    pair
}

fn decode(pair: &[u8]) -> (u64, u32) {
    let (ino, index) = pair.split_first_chunk::<8>().map_or((0, pair), |(ino, rest)| (u64::from_be_bytes(*ino), rest));
    (ino, index.first_chunk().map_or(0, |index| u32::from_be_bytes(*index)))
}

/// The path of an entry, relative to the dataset's root, from a file that is still being built.
fn path_of(file: &File, heap: &File, mut index: u32) -> std::io::Result<Vec<u8>> {
    let mut names = Vec::new();
    while index > 0 {
        let mut bytes = [0; RECORD_LEN];
        file.read_exact_at(&mut bytes, HEADER_LEN as u64 + u64::from(index) * RECORD_LEN as u64)?;
        let record = Record::decode(&bytes);
        let mut name = vec![0; usize::from(record.name_len)];
        heap.read_exact_at(&mut name, record.heap)?;
        names.push(name);
        // A parent comes before its children; anything else would go round for ever.
        index = if record.parent < index { record.parent } else { 0 };
    }
    names.reverse();
    Ok(names.join(&b'/'))
}
