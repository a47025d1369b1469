//! A catalog that another node has built.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::IoContext;
use crate::layout::{Meta, Section};
use crate::write::{publish, temporary};
use crate::{Catalog, CatalogError, MountSpec};

const TAKE: &str = "take a catalog from another node";

/// What a catalog that comes from elsewhere must be of, and what it is here.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The dataset's name: as in the file.
    pub dataset: String,
    /// The mounts: as in the file.
    pub mounts: Vec<MountSpec>,
    /// The number that it gets here; nodes count for themselves.
    pub generation: u64,
    /// When its listing began by this node's clock, nanoseconds since the epoch.
    pub listed_at_ns: i64,
}

/// A catalog on its way from another node. Dropped, nothing of it stays.
#[derive(Debug)]
pub struct Incoming {
    named: NamedTempFile,
    path: PathBuf,
}

impl Incoming {
    /// Takes what is to be the catalog at `path`.
    ///
    /// # Errors
    /// [`CatalogError::Io`]
    pub fn new(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self { named: temporary(path)?, path: path.to_owned() })
    }

    /// Where its bytes are to be written, from the beginning.
    ///
    /// # Errors
    /// [`CatalogError::Io`]
    pub fn file(&self) -> Result<File, CatalogError> {
        self.named.as_file().try_clone().during(TAKE, &self.path)
    }

    /// Looks at every byte, and takes it into use when it is whole and what it should be.
    ///
    /// # Errors
    /// As [`Catalog::open`] and [`Catalog::verify`]; [`CatalogError::Damaged`] also for a catalog of another tree.
    pub fn adopt(self, adoption: Adoption) -> Result<Catalog, CatalogError> {
        let damaged = |problem: &str| CatalogError::Damaged { path: self.path.clone(), problem: problem.to_owned() };
        let (header, meta) = {
            // The map is gone before the file is written to.
            let there = Catalog::open(self.named.path())?;
            there.verify()?;
            let info = there.info();
            if info.dataset != adoption.dataset || info.mounts != adoption.mounts {
                return Err(damaged("it is of another Dataset, or of other mounts"));
            }
            there.stored()?
        };
        let at = header.section(Section::Meta).offset;
        if at + header.section(Section::Meta).len != header.file_len {
            return Err(damaged("its description is not at its end"));
        }
        let meta = Meta { generation: adoption.generation, listed_at_ns: adoption.listed_at_ns, ..meta };
        let meta = serde_json::to_vec(&meta).map_err(std::io::Error::from).during(TAKE, &self.path)?;
        let file = self.named.as_file();
        file.set_len(at).and_then(|()| file.write_all_at(&meta, at)).during(TAKE, &self.path)?;
        let header = header.with_meta(meta.len() as u64, crc32c::crc32c(&meta));
        file.write_all_at(&header.encode(), 0).during(TAKE, &self.path)?;
        publish(self.named, &self.path)?;
        Catalog::open(&self.path)
    }
}
