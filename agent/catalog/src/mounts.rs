use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::{CatalogError, MAX_NAME, MAX_PATH};

/// One store's place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Normalised absolute path: `/`, or `/labels` without a trailing slash. Mounts may nest; no two are equal.
    pub path: String,
    /// The store's id as text.
    pub store: String,
    /// Globs over the path relative to the mount; empty takes everything.
    pub include: Vec<String>,
    /// Globs over the path relative to the mount; an excluded object stays out even if included.
    pub exclude: Vec<String>,
}

impl MountSpec {
    /// A mount of a whole store, without patterns.
    pub fn new(path: impl Into<String>, store: impl Into<String>) -> Self {
        Self { path: path.into(), store: store.into(), include: Vec::new(), exclude: Vec::new() }
    }

    /// The path without its leading slash: the mount's root relative to the dataset's.
    pub(crate) fn root(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }
}

/// What a mount brings to the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountTotals {
    /// Files shown.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

/// The key of a file at `path` (relative to the dataset) as the mount rooted at `root` spells it.
pub(crate) fn below<'a>(root: &str, path: &'a str) -> &'a str {
    let rest = path.strip_prefix(root).unwrap_or(path);
    rest.strip_prefix('/').unwrap_or(rest)
}

struct Mount {
    root: String,
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// Roots of the mounts strictly below this one.
    deeper: Vec<String>,
}

/// The checked mounts of a dataset: who owns which path, and which objects are wanted.
pub(crate) struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    pub(crate) fn new(specs: &[MountSpec]) -> Result<Self, CatalogError> {
        if specs.len() >= usize::from(crate::NO_MOUNT) {
            let path = String::new();
            return Err(CatalogError::Mount { path, problem: "a dataset has at most 65,534 mounts".into() });
        }
        specs.iter().try_for_each(|spec| check_path(&spec.path))?;
        let mut paths: Vec<&str> = specs.iter().map(|s| s.path.as_str()).collect();
        paths.sort_unstable();
        if let Some(pair) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem = "two mounts have this path; give each its own".into();
            return Err(CatalogError::Mount { path: pair[0].to_owned(), problem });
        }
        let mut mounts = Vec::with_capacity(specs.len());
        for spec in specs {
            let is_deeper = |other: &&MountSpec| other.path != spec.path && owns(spec.root(), other.root());
            mounts.push(Mount {
                root: spec.root().to_owned(),
                include: if spec.include.is_empty() { None } else { Some(globs(&spec.path, &spec.include)?) },
                exclude: globs(&spec.path, &spec.exclude)?,
                deeper: specs.iter().filter(is_deeper).map(|other| other.root().to_owned()).collect(),
            });
        }
        Ok(Self { mounts })
    }

    pub(crate) fn len(&self) -> usize {
        self.mounts.len()
    }

    /// Root of a mount relative to the dataset's, `""` or `labels`.
    pub(crate) fn root(&self, mount: u16) -> Option<&str> {
        self.mounts.get(usize::from(mount)).map(|m| m.root.as_str())
    }

    /// Whether the patterns of `mount` take `relative`. A directory is also tried with a slash behind, so that
    /// `tmp/**` speaks of the marker `tmp/` as well.
    pub(crate) fn wants(&self, mount: u16, relative: &str, directory: bool) -> bool {
        let Some(mount) = self.mounts.get(usize::from(mount)) else { return false };
        if mount.include.is_none() && mount.exclude.is_empty() {
            return true;
        }
        let slashed = directory.then(|| format!("{relative}/"));
        let hit = |set: &GlobSet| set.is_match(relative) || slashed.as_ref().is_some_and(|s| set.is_match(s));
        mount.include.as_ref().is_none_or(hit) && !hit(&mount.exclude)
    }

    /// Whether a deeper mount than `mount` owns `path`, relative to the dataset.
    pub(crate) fn is_shadowed(&self, mount: u16, path: &str) -> bool {
        self.mounts.get(usize::from(mount)).is_some_and(|m| m.deeper.iter().any(|root| owns(root, path)))
    }

    /// The deepest mount at or above `path`. Roots differ, and all roots above one path are prefixes of it, so
    /// there is exactly one longest: no path has two owners.
    pub(crate) fn owner(&self, path: &str) -> Option<u16> {
        let above = self.mounts.iter().enumerate().filter(|(_, m)| owns(&m.root, path));
        above.max_by_key(|(_, m)| m.root.len()).and_then(|(i, _)| u16::try_from(i).ok())
    }
}

/// Whether `path` is `root` or lies below it; both relative to the dataset.
fn owns(root: &str, path: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_path(path: &str) -> Result<(), CatalogError> {
    let error = |problem: &str| CatalogError::Mount { path: path.to_owned(), problem: problem.to_owned() };
    let Some(relative) = path.strip_prefix('/') else {
        return Err(error("a mount path starts with '/'"));
    };
    if relative.is_empty() {
        return Ok(());
    }
    if path.len() > MAX_PATH / 2 {
        return Err(error("a mount path has at most 1,920 bytes"));
    }
    for name in relative.split('/') {
        match name {
            "" => return Err(error("a mount path has no empty segments and no '/' at its end")),
            "." | ".." => return Err(error("a mount path has no '.' or '..' segments")),
            _ if name.contains('\0') => return Err(error("a mount path has no NUL characters")),
            _ if name.len() > MAX_NAME => return Err(error("a segment of a mount path has at most 255 bytes")),
            _ => {}
        }
    }
    Ok(())
}

fn globs(mount: &str, patterns: &[String]) -> Result<GlobSet, CatalogError> {
    let error = |pattern: &str, e: globset::Error| CatalogError::Glob {
        mount: mount.to_owned(),
        pattern: pattern.to_owned(),
        problem: e.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let relative = pattern.strip_prefix('/').unwrap_or(pattern);
        let glob = GlobBuilder::new(relative).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(|e| error(pattern, e))?);
    }
    set.build().map_err(|e| error(&patterns.join(", "), e))
}
