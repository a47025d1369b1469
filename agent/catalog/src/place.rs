use crate::mounts::MountTable;
use crate::{Fate, Listed, MAX_KEY, MAX_NAME, MAX_PATH, MAX_VERSION};

/// Where a listed object goes by its name alone; what other objects of the same path do to it is decided later,
/// when the sorted stream brings them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A file; `collapsed` if its key is not the path below the mount.
    File { collapsed: bool },
    /// A directory, with the fate of the object that says so.
    Directory(Fate),
    /// Not in the tree.
    Nowhere(Fate),
}

/// Decides the placement of `object` and writes its path relative to the dataset into `path`.
///
/// A mount that is not in the table gives [`Placement::Nowhere`]; callers check that first.
pub(crate) fn place(table: &MountTable, mount: u16, object: &Listed<'_>, path: &mut String) -> Placement {
    use Placement::Nowhere;
    let key = object.key;
    path.clear();
    path.push_str(table.root(mount).unwrap_or_default());
    // An over-long key is not worth a copy: its patterns see it as it is.
    if key.len() > MAX_KEY {
        return Nowhere(if table.wants(mount, key, false) { Fate::PathTooLong } else { Fate::Excluded });
    }
    let directory = key.is_empty() || key.ends_with('/');
    let named = key.strip_suffix('/').unwrap_or(key);
    let mut segments = 0;
    for segment in named.split('/') {
        segments += 1;
        if !segment.is_empty() {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(segment);
        }
    }
    let relative = crate::mounts::below(table.root(mount).unwrap_or_default(), path);
    let shown = if relative.is_empty() { 0 } else { relative.split('/').count() };
    let collapsed = shown != segments;

    // Patterns come first: excluding an object is the remedy for every problem below.
    if !table.wants(mount, relative, directory) {
        return Nowhere(Fate::Excluded);
    }
    if relative.split('/').any(|name| matches!(name, "." | "..")) {
        return Nowhere(Fate::DotSegment);
    }
    if key.contains('\0') {
        return Nowhere(Fate::Nul);
    }
    if relative.split('/').any(|name| name.len() > MAX_NAME) {
        return Nowhere(Fate::NameTooLong);
    }
    if path.len() > MAX_PATH {
        return Nowhere(Fate::PathTooLong);
    }
    if object.version.len() > MAX_VERSION {
        return Nowhere(Fate::VersionTooLong);
    }
    if table.is_shadowed(mount, path) {
        return Nowhere(Fate::Shadowed);
    }
    match directory {
        true if object.size == 0 => Placement::Directory(Fate::Marker),
        true => Placement::Directory(Fate::MarkerWithBytes),
        false => Placement::File { collapsed },
    }
}
