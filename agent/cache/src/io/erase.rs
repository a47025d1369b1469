use std::io;
use std::path::Path;

/// Names that a tier has in its directory; the last is its lock, so that until then nobody takes what is being removed.
const FILES: [&str; 3] = ["ledger", "probe", "lock"];
const DIRECTORIES: [&str; 3] = ["native", "objects", "tmp"];

/// Removes a tier from its directory, and the directory if nothing else is in it and it can be. For a tier that no cache has open
/// and none is to open any more; none there is fine.
///
/// # Errors
/// What the disk says; what is left can be erased again.
pub fn erase(dir: &Path) -> io::Result<()> {
    for name in DIRECTORIES {
        gone(std::fs::remove_dir_all(dir.join(name)))?;
    }
    for name in FILES {
        gone(std::fs::remove_file(dir.join(name)))?;
    }
    // A mount point, or a directory with something else in it, is not ours to remove.
    let _ = std::fs::remove_dir(dir);
    Ok(())
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
