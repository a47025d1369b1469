//! External sort of byte strings in memcmp order: sorted runs in anonymous files, merged. Memory is bounded by the
//! budget whatever the number of items, and so is the number of open files.

mod run;

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::{Path, PathBuf};

use crate::CatalogError;
use run::{Run, RunReader, RunWriter};

/// Longest item.
pub(crate) const MAX_ITEM: usize = u16::MAX as usize;
/// Bytes of the index for each buffered item.
const INDEX_ENTRY: usize = size_of::<(u32, u32)>();

/// Collects items, spilling sorted runs when the budget is full.
pub(crate) struct Sorter {
    dir: PathBuf,
    arena: Vec<u8>,
    index: Vec<(u32, u32)>,
    arena_limit: usize,
    index_limit: usize,
    fan_in: usize,
    buffer: usize,
    /// `levels[n]` holds runs of about `fan_in.pow(n)` buffers each; a full level becomes one run of the next, so
    /// that each item is rewritten a logarithmic number of times.
    levels: Vec<Vec<Run>>,
    /// Of several equal items that this says yes to, only one needs to come out.
    collapsible: fn(&[u8]) -> bool,
}

impl Sorter {
    /// Half of `budget` buffers items of about `expected` bytes, half is for merging. Merging takes 20 KiB and the
    /// items of four runs in any case.
    pub(crate) fn new(dir: &Path, budget: usize, expected: usize, collapsible: fn(&[u8]) -> bool) -> Self {
        let budget = budget.min(1 << 30);
        let collect = budget / 2;
        let fan_in = (budget / 2 / (8 << 10)).clamp(4, 64);
        Self {
            dir: dir.to_owned(),
            arena: Vec::new(),
            index: Vec::new(),
            arena_limit: collect / (expected + INDEX_ENTRY) * expected,
            index_limit: collect / (expected + INDEX_ENTRY),
            fan_in,
            buffer: (budget / 2 / (fan_in + 1)).clamp(4 << 10, 1 << 20),
            levels: Vec::new(),
            collapsible,
        }
    }

    /// Adds an item of at most [`MAX_ITEM`] bytes.
    pub(crate) fn push(&mut self, item: &[u8]) -> Result<(), CatalogError> {
        debug_assert!(item.len() <= MAX_ITEM);
        let full = self.arena.len() + item.len() > self.arena_limit || self.index.len() == self.index_limit;
        if full && !self.index.is_empty() {
            self.spill()?;
        }
        if self.arena.capacity() == 0 {
            self.arena.reserve_exact(self.arena_limit);
            self.index.reserve_exact(self.index_limit);
        }
        // The arena's limit is below 1 GiB, and one item more is small.
        #[expect(clippy::cast_possible_truncation, reason = "the arena is limited to 1 GiB")]
        self.index.push((self.arena.len() as u32, item.len() as u32));
        self.arena.extend_from_slice(item);
        Ok(())
    }

    /// Ends collecting; the result yields every item in order.
    pub(crate) fn finish(mut self) -> Result<Merge, CatalogError> {
        self.spill()?;
        self.arena = Vec::new();
        self.index = Vec::new();
        let mut runs: Vec<Run> = std::mem::take(&mut self.levels).into_iter().flatten().collect();
        while runs.len() > self.fan_in {
            let rest = runs.split_off(self.fan_in);
            let merged = self.merge(runs)?;
            runs = rest;
            runs.push(merged);
        }
        Merge::new(runs, self.buffer)
    }

    fn spill(&mut self) -> Result<(), CatalogError> {
        if self.index.is_empty() {
            return Ok(());
        }
        let arena = &self.arena;
        let item = |&(start, len): &(u32, u32)| &arena[start as usize..][..len as usize];
        self.index.sort_unstable_by(|a, b| item(a).cmp(item(b)));
        let mut writer = RunWriter::new(&self.dir, self.buffer, self.collapsible)?;
        for entry in &self.index {
            writer.push(item(entry))?;
        }
        let run = writer.finish()?;
        self.arena.clear();
        self.index.clear();
        self.keep(run)
    }

    fn keep(&mut self, mut run: Run) -> Result<(), CatalogError> {
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < self.fan_in {
                break;
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = self.merge(full)?;
        }
        Ok(())
    }

    fn merge(&self, runs: Vec<Run>) -> Result<Run, CatalogError> {
        let mut merge = Merge::new(runs, self.buffer)?;
        let mut writer = RunWriter::new(&self.dir, self.buffer, self.collapsible)?;
        while let Some(item) = merge.next()? {
            writer.push(item)?;
        }
        writer.finish()
    }
}

/// The sorted stream.
pub(crate) struct Merge {
    heads: BinaryHeap<RunReader>,
    started: bool,
}

impl Merge {
    fn new(runs: Vec<Run>, buffer: usize) -> Result<Self, CatalogError> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for run in runs {
            let mut reader = RunReader::new(run, buffer)?;
            if reader.advance()? {
                heads.push(reader);
            }
        }
        Ok(Self { heads, started: false })
    }

    /// The next item; equal items come as often as they were pushed, unless collapsible.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, CatalogError> {
        if std::mem::replace(&mut self.started, true)
            && let Some(mut top) = self.heads.peek_mut()
            && !top.advance()?
        {
            PeekMut::pop(top);
        }
        Ok(self.heads.peek().map(RunReader::item))
    }
}

#[cfg(test)]
mod tests;
