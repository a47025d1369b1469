//! Newer versions of single files, found by `Validate` when a file was opened: a journal beside the catalog.
//!
//! A handle on an override stays understood after a restart, which is why they are on disk. Losing the journal's
//! tail (a torn write) costs those handles, never a wrong byte: the next open looks at the store again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Past so many overrides a generation is worn out: the tree should be listed again.
pub(crate) const WORN_OUT: usize = 100_000;

/// A file's newer version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Override {
    /// The catalog entry that it replaces.
    pub(crate) entry: u32,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    /// Token of the store's version.
    pub(crate) version: String,
}

/// All overrides of one generation, in order of discovery; the latest of an entry counts.
#[derive(Debug)]
pub(crate) struct Overrides {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    journal: File,
    all: Vec<Override>,
    by_entry: HashMap<u32, u32>,
    by_ino: HashMap<u64, u32>,
}

impl Overrides {
    /// Reads the journal at `path`, or begins it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let journal = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut inner = Inner { journal, all: Vec::new(), by_entry: HashMap::new(), by_ino: HashMap::new() };
        for line in BufReader::new(File::open(path)?).lines() {
            // A line that does not parse is the torn last one; what follows a torn one cannot be trusted either,
            // since indices count lines.
            let Some(found) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            inner.remember(found);
        }
        let whole: u64 = inner.all.iter().map(|found| line_of(found).len() as u64).sum();
        inner.journal.set_len(whole)?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Index and content of the latest override of `entry`.
    pub(crate) fn latest(&self, entry: u32) -> Option<(u32, Override)> {
        let inner = self.inner();
        let index = *inner.by_entry.get(&entry)?;
        Some((index, inner.all.get(index as usize)?.clone()))
    }

    pub(crate) fn get(&self, index: u32) -> Option<Override> {
        self.inner().all.get(index as usize).cloned()
    }

    pub(crate) fn by_ino(&self, ino: u64) -> Option<(u32, Override)> {
        let inner = self.inner();
        let index = *inner.by_ino.get(&ino)?;
        Some((index, inner.all.get(index as usize)?.clone()))
    }

    pub(crate) fn len(&self) -> usize {
        self.inner().all.len()
    }

    /// Notes a newer version; the same one as the latest is not noted twice. Returns its index.
    pub(crate) fn add(&self, found: Override) -> io::Result<u32> {
        let mut inner = self.inner();
        if let Some(&index) = inner.by_entry.get(&found.entry)
            && inner.all.get(index as usize) == Some(&found)
        {
            return Ok(index);
        }
        let line = line_of(&found);
        inner.journal.write_all(line.as_bytes())?;
        Ok(inner.remember(found))
    }
}

impl Inner {
    fn remember(&mut self, found: Override) -> u32 {
        let index = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.by_entry.insert(found.entry, index);
        self.by_ino.insert(found.ino, index);
        self.all.push(found);
        index
    }
}

fn line_of(found: &Override) -> String {
    // A struct of numbers and a string always has a JSON form; an empty line would end the journal's reading.
    let mut line = serde_json::to_string(found).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn found(entry: u32, version: &str) -> Override {
        Override { entry, ino: u64::from(entry) + 1000, size: 3, mtime_ns: 5, version: version.into() }
    }

    #[test]
    fn overrides_survive_a_restart_and_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overrides");
        let overrides = Overrides::open(&path).unwrap();
        assert_eq!(overrides.add(found(7, "a")).unwrap(), 0);
        assert_eq!(overrides.add(found(7, "a")).unwrap(), 0, "known already");
        assert_eq!(overrides.add(found(7, "b")).unwrap(), 1);
        drop(overrides);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"entry\":9,").unwrap();
        let overrides = Overrides::open(&path).unwrap();
        assert_eq!(overrides.latest(7).unwrap().1.version, "b");
        assert_eq!(overrides.get(0).unwrap().version, "a", "an earlier handle keeps its version");
        assert_eq!(overrides.add(found(9, "c")).unwrap(), 2);
        drop(overrides);
        assert_eq!(Overrides::open(&path).unwrap().len(), 3);
    }
}
