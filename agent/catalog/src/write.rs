//! From the sorted stream to the file: one pass that writes records and heap, a pass per depth that links
//! directories with their children, the table of inode numbers, header and checksums.

mod numbers;
mod seal;
mod tree;

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::IoContext;
use crate::layout::{Extent, HEADER_LEN, Header, Meta, SECTIONS};
use crate::sort::Merge;
use crate::tally::Tally;
use crate::{BuilderConfig, CatalogError, TMP_PREFIX, TMP_SUFFIX};
use tree::{Built, TreeWriter};

const WRITE: &str = "write the catalog";

/// Everything that a catalog is made of.
pub(crate) struct Source<'a> {
    /// Items in order, see [`crate::item`].
    pub(crate) items: Merge,
    /// The fates decided so far.
    pub(crate) tally: Tally,
    pub(crate) config: BuilderConfig,
    /// Where temporary files may be.
    pub(crate) work: &'a Path,
    /// Bits of inode numbers; fewer than there are in tests only.
    pub(crate) hash_bits: u32,
}

/// Writes a catalog to `path`: complete and synced under a temporary name beside it, then renamed.
pub(crate) fn write(source: Source<'_>, path: &Path) -> Result<(), CatalogError> {
    let named = temporary(path)?;
    fill(source, named.as_file(), path)?;
    publish(named, path)
}

/// The file that is to be the catalog at `path`.
pub(crate) fn temporary(path: &Path) -> Result<NamedTempFile, CatalogError> {
    let named = tempfile::Builder::new().prefix(TMP_PREFIX).suffix(TMP_SUFFIX).tempfile_in(parent(path));
    named.during("create the catalog", path)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn fill(source: Source<'_>, file: &File, path: &Path) -> Result<(), CatalogError> {
    let Source { mut items, mut tally, config, work, hash_bits } = source;
    file.write_all_at(&[0; HEADER_LEN], 0).during(WRITE, path)?;

    let mut tree = TreeWriter::new(file, path, work, &config, hash_bits)?;
    while let Some(item) = items.next()? {
        tree.push(item, &mut tally)?;
    }
    drop(items);
    let Built { mut heap, inos, levels, entries, files, directories, bytes, totals } = tree.finish(&mut tally)?;
    seal::seal(file, path, &levels, config.listed_at_ns)?;
    let numbers = numbers::assign(inos, file, &heap, path, work, hash_bits)?;

    let mut sections = Sections { file, path, extents: [Extent::default(); SECTIONS], next: 0 };
    sections.present(HEADER_LEN as u64)?;
    numbers.write_buckets(&mut sections.append()?)?;
    sections.close()?;
    numbers.write_inos(&mut sections.append()?)?;
    sections.close()?;
    heap.rewind().and_then(|()| io::copy(&mut heap, &mut &*file)).during(WRITE, path)?;
    sections.close()?;
    let BuilderConfig { dataset, generation, listed_at_ns, mounts, memory: _ } = config;
    let report = tally.into_report();
    let meta = Meta { dataset, generation, listed_at_ns, mounts, totals, files, directories, bytes, report };
    let mut out = sections.append()?;
    serde_json::to_writer(&mut out, &meta).map_err(io::Error::from).during(WRITE, path)?;
    out.flush().during(WRITE, path)?;
    sections.close()?;

    let file_len = file.metadata().during(WRITE, path)?.len();
    let header = Header { entries, file_len, sections: sections.extents };
    file.write_all_at(&header.encode(), 0).during(WRITE, path)
}

/// After this, and only after this, `path` is the new catalog, whenever the machine fails.
pub(crate) fn publish(named: NamedTempFile, path: &Path) -> Result<(), CatalogError> {
    named.as_file().sync_all().during("sync the catalog", path)?;
    named.persist(path).map_err(|e| e.error).during("rename the catalog to", path)?;
    File::open(parent(path)).and_then(|dir| dir.sync_all()).during("sync the directory of the catalog", path)
}

/// Sections one behind the other, each closed with its extent and checksum.
struct Sections<'a> {
    file: &'a File,
    path: &'a Path,
    extents: [Extent; SECTIONS],
    next: usize,
}

impl<'a> Sections<'a> {
    /// The first section, from `offset` to the end of the file, is written already.
    fn present(&mut self, offset: u64) -> Result<(), CatalogError> {
        self.extents[0].offset = offset;
        self.close()
    }

    fn append(&mut self) -> Result<BufWriter<&'a File>, CatalogError> {
        (&mut &*self.file).seek(SeekFrom::End(0)).during(WRITE, self.path)?;
        Ok(BufWriter::with_capacity(64 << 10, self.file))
    }

    /// Ends a section at the end of the file; the next begins there.
    fn close(&mut self) -> Result<(), CatalogError> {
        let end = (&mut &*self.file).seek(SeekFrom::End(0)).during(WRITE, self.path)?;
        let extent = &mut self.extents[self.next];
        extent.len = end - extent.offset;
        extent.crc = checksum(self.file, extent.offset, extent.len).during("read back the catalog", self.path)?;
        self.next += 1;
        if let Some(extent) = self.extents.get_mut(self.next) {
            extent.offset = end;
        }
        Ok(())
    }
}

fn checksum(file: &File, offset: u64, len: u64) -> io::Result<u32> {
    let mut buffer = vec![0; 256 << 10];
    let (mut at, end, mut crc) = (offset, offset + len, 0);
    while at < end {
        let take = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..take], at)?;
        crc = crc32c::crc32c_append(crc, &buffer[..take]);
        at += take as u64;
    }
    Ok(crc)
}
