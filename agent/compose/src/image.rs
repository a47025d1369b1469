//! From a catalog to an image in a file.

use std::io::BufWriter;
use std::path::Path;

use forebay_catalog::{Catalog, Entry as CatalogEntry};
use forebay_erofs::{Entry, Kind, MAX_SIZE, Options, Source, WriteError, Written, read_uuid};

use crate::ComposeError;
use crate::error::IoContext as _;

/// Who owns what an image shows, as a mount without one would show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// User id of every entry.
    pub uid: u32,
    /// Group id of every entry.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
}

/// The metadata of one generation.
pub struct Image<'a, F> {
    catalog: &'a Catalog,
    object: F,
    look: Look,
}

impl<F> std::fmt::Debug for Image<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("catalog", self.catalog).field("look", &self.look).finish_non_exhaustive()
    }
}

impl<'a, F: Fn(&CatalogEntry<'_>) -> Option<[u8; 32]>> Image<'a, F> {
    /// The image of `catalog`. `object` gives the name of the object that holds a file's bytes.
    pub fn new(catalog: &'a Catalog, look: Look, object: F) -> Self {
        Self { catalog, object, look }
    }

    /// Writes it to `path`: whole under a temporary name, then renamed. The same catalog and look give the same bytes on every
    /// machine. Blocks for about a second per million files.
    ///
    /// # Errors
    /// [`ComposeError::Io`] and [`ComposeError::Image`]; nothing is at `path` then that was not there before.
    pub fn write(&self, path: &Path) -> Result<Written, ComposeError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(parent).during("make", path)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
        let written = forebay_erofs::write(self, &self.options(), &mut out)
            .map_err(|source: WriteError| ComposeError::Image { path: path.to_owned(), source })?;
        drop(out);
        file.as_file().sync_all().during("sync the image", path)?;
        file.persist(path).map_err(|e| e.error).during("rename the image to", path)?;
        Ok(written)
    }

    /// Whether [`Image::write`] wrote this very image to `path`.
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::File::open(path).and_then(|mut file| read_uuid(&mut file)).is_ok_and(|uuid| uuid == self.options().uuid)
    }

    fn options(&self) -> Options {
        let Look { uid, gid, file_mode, dir_mode } = self.look;
        let info = self.catalog.info();
        // By all that an image is made of: one of the same name is the same image.
        let mut name = blake3::Hasher::new();
        name.update(b"forebay image 1\0").update(info.dataset.as_bytes());
        name.update(&info.generation.to_le_bytes()).update(&info.listed_at_ns.to_le_bytes());
        name.update(&self.catalog.file_len().to_le_bytes());
        name.update(&uid.to_le_bytes()).update(&gid.to_le_bytes());
        name.update(&file_mode.to_le_bytes()).update(&dir_mode.to_le_bytes());
        let uuid = name.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
        Options { uid, gid, file_mode, dir_mode, total_bytes: info.bytes, uuid }
    }
}

impl<F: Fn(&CatalogEntry<'_>) -> Option<[u8; 32]>> Source for Image<'_, F> {
    fn len(&self) -> u32 {
        self.catalog.len()
    }

    fn entry(&self, index: u32) -> Option<Entry<'_>> {
        let entry = self.catalog.entry(index)?;
        let children = entry.child_range();
        let kind = if entry.is_dir() {
            Kind::Directory { children: children.end - children.start }
        } else {
            Kind::File { size: entry.size().min(MAX_SIZE) }
        };
        Some(Entry { name: entry.name().as_bytes(), mtime_ns: entry.mtime_ns(), kind })
    }

    fn object(&self, index: u32) -> Option<[u8; 32]> {
        (self.object)(&self.catalog.entry(index)?)
    }
}
