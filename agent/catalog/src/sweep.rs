use std::fs;
use std::path::Path;

use crate::error::IoContext;
use crate::{CatalogError, TMP_PREFIX, TMP_SUFFIX};

/// Removes what a build that was killed left in `dir`, the directory of its catalog. Returns the number of files
/// removed. Call it at start, while no [`crate::Builder`] writes there.
///
/// # Errors
/// [`CatalogError::Io`] when the directory cannot be read or a file not removed; one that is gone already is fine.
pub fn sweep(dir: &Path) -> Result<usize, CatalogError> {
    const READ: &str = "clean up the directory of catalogs";
    let mut removed = 0;
    for entry in fs::read_dir(dir).during(READ, dir)? {
        let entry = entry.during(READ, dir)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(TMP_PREFIX) && name.ends_with(TMP_SUFFIX) {
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).during(READ, &entry.path()),
            }
        }
    }
    Ok(removed)
}
