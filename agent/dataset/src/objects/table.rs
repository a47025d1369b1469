//! Where each object is in a catalog: pairs of the beginning of its name and an entry's index, sorted, in a mapped file. Twelve
//! bytes a file, none of them on the heap.

use std::fs::File;
use std::io;
use std::path::Path;

use forebay_cache::ObjectId;
use memmap2::{Mmap, MmapMut};

const PAIR: usize = 12;
const PREFIX: usize = 8;

#[derive(Debug)]
pub(crate) struct Table {
    /// Absent when there is no file.
    map: Option<Mmap>,
}

impl Table {
    /// Opens what [`Table::write`] wrote; `None` when there is nothing that is whole.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Self::map(&File::open(path).ok()?).ok()
    }

    /// Writes the table of `files` objects, whole or not at all, and opens it.
    pub(crate) fn write(path: &Path, files: u64, objects: impl Iterator<Item = (ObjectId, u32)>) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        let len = files * PAIR as u64;
        file.as_file().set_len(len)?;
        if len > 0 {
            // SAFETY: the file has no name that anybody else knows yet, so nobody changes or shortens it.
            let mut map = unsafe { MmapMut::map_mut(file.as_file()) }?;
            let (pairs, _) = map.as_chunks_mut::<PAIR>();
            let mut written = 0;
            for (pair, (id, index)) in pairs.iter_mut().zip(objects) {
                pair[..PREFIX].copy_from_slice(&id.0[..PREFIX]);
                pair[PREFIX..].copy_from_slice(&index.to_be_bytes());
                written += 1;
            }
            if written < pairs.len() {
                return Err(io::Error::other(format!("the catalog has {written} files and says {files}")));
            }
            pairs.sort_unstable();
            map.flush()?;
        }
        file.as_file().sync_all()?;
        let file = file.persist(path).map_err(|e| e.error)?;
        Self::map(&file)
    }

    fn map(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        if len % PAIR as u64 != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if len == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: a table is private to the agent, complete under its name from the first moment, never written to afterwards, and
        // goes only by rename or removal, which leave a mapped file as it is.
        Ok(Self { map: Some(unsafe { Mmap::map(file) }?) })
    }

    /// Indexes of the entries whose object may be `id`.
    pub(crate) fn candidates(&self, id: &ObjectId) -> impl Iterator<Item = u32> {
        let pairs = self.map.as_ref().map_or(&[][..], |map| map.as_chunks::<PAIR>().0);
        let prefix = &id.0[..PREFIX];
        let start = pairs.partition_point(|pair| &pair[..PREFIX] < prefix);
        let same = pairs[start..].iter().take_while(move |pair| &pair[..PREFIX] == prefix);
        same.map(|pair| u32::from_be_bytes([pair[8], pair[9], pair[10], pair[11]]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn id(n: u64) -> ObjectId {
        // Two each share the beginning of their names, so that candidates are more than one.
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id[31] = (n % 2) as u8;
        ObjectId(id)
    }

    #[test]
    fn every_object_is_among_its_candidates() {
        let dir = tempfile::tempdir().unwrap();
        for files in [0u32, 1, 2, 999] {
            let path = dir.path().join(files.to_string());
            let table = Table::write(&path, u64::from(files), (0..files).map(|n| (id(u64::from(n)), n + 7))).unwrap();
            for table in [table, Table::open(&path).unwrap()] {
                for n in 0..files {
                    let found: Vec<u32> = table.candidates(&id(u64::from(n))).collect();
                    assert!(found.contains(&(n + 7)) && found.len() <= 2, "{n}: {found:?}");
                }
                assert_eq!(table.candidates(&id(100_000)).count(), 0);
            }
        }
    }

    #[test]
    fn what_is_not_whole_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert!(Table::open(&path).is_none());
        std::fs::write(&path, [0; 13]).unwrap();
        assert!(Table::open(&path).is_none());
        assert!(Table::write(&path, 2, std::iter::once((id(1), 1))).is_err());
    }
}
