//! The tree and the fates as the documentation words them, over a map in memory. Shares no code with the crate.

use std::collections::{BTreeMap, BTreeSet};

use forebay_catalog::{Fate, MountSpec};

use crate::support::{LISTED_AT, Object};

/// A pattern whose meaning is written down twice: as a glob and as a function.
pub(crate) type Pattern = (&'static str, fn(&str) -> bool);

pub(crate) const PATTERNS: [Pattern; 7] = [
    ("**", |_| true),
    ("**/b", |p| p.rsplit('/').next() == Some("b")),
    ("a/**", |p| p.starts_with("a/")),
    ("*.b", |p| p.ends_with(".b") && !p.contains('/')),
    ("*/b", |p| p.split('/').count() == 2 && p.ends_with("/b")),
    ("A", |p| p == "A"),
    ("/a/?", |p| p.strip_prefix("a/").is_some_and(|rest| rest.len() == 1 && rest != "/")),
];

#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) path: String,
    pub(crate) include: Vec<Pattern>,
    pub(crate) exclude: Vec<Pattern>,
}

impl Mount {
    pub(crate) fn spec(&self) -> MountSpec {
        let globs = |patterns: &[Pattern]| patterns.iter().map(|(glob, _)| (*glob).to_owned()).collect();
        let mut spec = MountSpec::new(self.path.clone(), "mem://x");
        spec.include = globs(&self.include);
        spec.exclude = globs(&self.exclude);
        spec
    }
    fn names(&self) -> Vec<String> {
        self.path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect()
    }
    fn takes(&self, relative: &str, directory: bool) -> bool {
        let slashed = format!("{relative}/");
        let hit = |set: &[Pattern]| set.iter().any(|(_, f)| f(relative) || directory && f(&slashed));
        (self.include.is_empty() || hit(&self.include)) && !hit(&self.exclude)
    }
}

/// Names below the root; the root is the empty path. Sorts component by component.
pub(crate) type Path = Vec<String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) object: Object,
    /// Versions that differ from the shown one in nothing that decides: any of them may be shown.
    pub(crate) versions: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) files: BTreeMap<Path, File>,
    /// Directory and its time.
    pub(crate) directories: BTreeMap<Path, i64>,
    pub(crate) fates: Vec<(Fate, Object, Option<Path>)>,
}

pub(crate) fn reference(mounts: &[Mount], objects: &[Object]) -> Reference {
    let mut out = Reference::default();
    let mut markers: BTreeMap<Path, Vec<i64>> = BTreeMap::new();
    let mut candidates: BTreeMap<Path, Vec<Object>> = BTreeMap::new();
    markers.insert(Vec::new(), Vec::new());
    for mount in mounts {
        markers.entry(mount.names()).or_default();
    }
    for object in objects {
        let (fate, path, directory) = by_name(mounts, object);
        match fate {
            Some(fate) => out.fates.push((fate, object.clone(), path)),
            None if directory => {
                let fate = if object.size == 0 { Fate::Marker } else { Fate::MarkerWithBytes };
                markers.entry(path.clone().unwrap()).or_default().push(object.mtime_ns);
                out.fates.push((fate, object.clone(), path));
            }
            None => candidates.entry(path.unwrap()).or_default().push(object.clone()),
        }
    }
    let mut directories: BTreeSet<Path> = BTreeSet::new();
    for path in markers.keys() {
        directories.extend((0..=path.len()).map(|n| path[..n].to_vec()));
    }
    for path in candidates.keys() {
        directories.extend((0..path.len()).map(|n| path[..n].to_vec()));
    }
    for (path, group) in candidates {
        decide(&mut out, mounts, &directories, path, group);
    }
    for directory in directories {
        let own = markers.get(&directory).into_iter().flatten().copied();
        let deeper = markers.iter().filter(|(p, _)| p.starts_with(&directory)).flat_map(|(_, t)| t.iter().copied());
        let files = out.files.iter().filter(|(p, _)| p.starts_with(&directory)).map(|(_, f)| f.object.mtime_ns);
        let time = own.chain(deeper).chain(files).filter(|t| *t != 0).max().unwrap_or(LISTED_AT);
        out.directories.insert(directory, time);
    }
    out
}

/// Fate by the name alone, path, and whether it is a directory.
fn by_name(mounts: &[Mount], object: &Object) -> (Option<Fate>, Option<Path>, bool) {
    let mount = &mounts[usize::from(object.mount)];
    let below: Path = object.key.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let directory = object.key.is_empty() || object.key.ends_with('/');
    let path: Path = mount.names().into_iter().chain(below.iter().cloned()).collect();
    let owner = mounts.iter().map(Mount::names).filter(|m| path.starts_with(m)).max_by_key(Vec::len);
    if !mount.takes(&below.join("/"), directory) {
        (Some(Fate::Excluded), None, directory)
    } else if below.iter().any(|s| s == "." || s == "..") {
        (Some(Fate::DotSegment), None, directory)
    } else if object.key.contains('\0') {
        (Some(Fate::Nul), None, directory)
    } else if below.iter().any(|s| s.len() > 255) {
        (Some(Fate::NameTooLong), None, directory)
    } else if path.join("/").len() > 3840 {
        (Some(Fate::PathTooLong), None, directory)
    } else if owner != Some(mount.names()) {
        (Some(Fate::Shadowed), Some(path), directory)
    } else {
        (None, Some(path), directory)
    }
}

fn decide(out: &mut Reference, mounts: &[Mount], directories: &BTreeSet<Path>, path: Path, mut group: Vec<Object>) {
    let plain = path[mounts[usize::from(group[0].mount)].names().len()..].join("/");
    let rank = |o: &Object| (o.key != plain, o.key.clone(), std::cmp::Reverse((o.mtime_ns, o.size)));
    group.sort_by_key(rank);
    let first = group[0].clone();
    let versions = group.iter().filter(|o| rank(o) == rank(&first)).map(|o| o.version.clone()).collect();
    let directory = directories.contains(&path);
    let fate = match (directory, first.key == plain) {
        (true, _) => Fate::FileAndPrefix,
        (false, true) => Fate::Shown,
        (false, false) => Fate::Collapsed,
    };
    for (i, other) in group.into_iter().enumerate() {
        let fate = match i {
            0 => fate,
            _ if other.key != first.key => Fate::Ambiguous,
            _ if (other.size, other.mtime_ns, &other.version) == (first.size, first.mtime_ns, &first.version) => Fate::Repeated,
            _ => Fate::Superseded,
        };
        out.fates.push((fate, other, Some(path.clone())));
    }
    if !directory {
        out.files.insert(path, File { object: first, versions });
    }
}
