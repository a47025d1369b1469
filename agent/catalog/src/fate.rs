use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of one listed object. Every object added or rejected has exactly one fate, so the counts of a
/// [`crate::Report`] add up to the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// A file at its own path.
    Shown,
    /// A file whose key has empty segments (`a//b`, `/a`), shown without them.
    Collapsed,
    /// An empty object whose key ends with `/`: a directory.
    Marker,
    /// An object with bytes whose key ends with `/`: a directory, its bytes cannot be read.
    MarkerWithBytes,
    /// The key is also the prefix of other keys or leads to a mount point: the directory is shown, the file is not.
    FileAndPrefix,
    /// Another key gives the same path once empty segments are left out, and that one is shown.
    Ambiguous,
    /// Listed again, identical.
    Repeated,
    /// Listed again with other content; the newest is shown.
    Superseded,
    /// Lies at or below the path of a deeper mount, which owns it.
    Shadowed,
    /// Left out by the mount's include or exclude patterns.
    Excluded,
    /// A segment is `.` or `..`.
    DotSegment,
    /// The key holds a NUL character.
    Nul,
    /// A segment is longer than 255 bytes.
    NameTooLong,
    /// The path in the dataset is longer than [`crate::MAX_PATH`] bytes, or the key longer than [`crate::MAX_KEY`].
    PathTooLong,
    /// The store's version token is longer than [`crate::MAX_VERSION`] bytes.
    VersionTooLong,
    /// The store holds a name that is no text, e.g. invalid UTF-8.
    Unrepresentable,
}

impl Fate {
    /// Every fate, in the order of their documentation.
    pub const ALL: [Fate; 16] = [
        Fate::Shown,
        Fate::Collapsed,
        Fate::Marker,
        Fate::MarkerWithBytes,
        Fate::FileAndPrefix,
        Fate::Ambiguous,
        Fate::Repeated,
        Fate::Superseded,
        Fate::Shadowed,
        Fate::Excluded,
        Fate::DotSegment,
        Fate::Nul,
        Fate::NameTooLong,
        Fate::PathTooLong,
        Fate::VersionTooLong,
        Fate::Unrepresentable,
    ];

    /// Whether the object is a file of the tree.
    pub fn is_file(self) -> bool {
        matches!(self, Fate::Shown | Fate::Collapsed)
    }

    /// Whether bytes of the store cannot be read through the tree although nobody asked for that.
    pub fn is_problem(self) -> bool {
        !matches!(self, Fate::Shown | Fate::Collapsed | Fate::Marker | Fate::Repeated | Fate::Superseded | Fate::Excluded)
    }

    /// Whether examples are kept in the report, beside the count.
    pub fn is_sampled(self) -> bool {
        !matches!(self, Fate::Shown | Fate::Marker | Fate::Repeated | Fate::Excluded)
    }

    /// The name used in reports and metric labels, e.g. `fileAndPrefix`.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Shown => "shown",
            Fate::Collapsed => "collapsed",
            Fate::Marker => "marker",
            Fate::MarkerWithBytes => "markerWithBytes",
            Fate::FileAndPrefix => "fileAndPrefix",
            Fate::Ambiguous => "ambiguous",
            Fate::Repeated => "repeated",
            Fate::Superseded => "superseded",
            Fate::Shadowed => "shadowed",
            Fate::Excluded => "excluded",
            Fate::DotSegment => "dotSegment",
            Fate::Nul => "nul",
            Fate::NameTooLong => "nameTooLong",
            Fate::PathTooLong => "pathTooLong",
            Fate::VersionTooLong => "versionTooLong",
            Fate::Unrepresentable => "unrepresentable",
        }
    }

    /// What happened and what to do, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Fate::Shown => "shown as a file",
            Fate::Collapsed => "the key has empty segments; it is shown without them",
            Fate::Marker => "a directory marker",
            Fate::MarkerWithBytes => {
                "the key ends with '/', so it is a directory and its bytes cannot be read; rename the object"
            }
            Fate::FileAndPrefix => {
                "other keys or a mount lie below this key, so it is a directory and the object cannot be read; rename the object or exclude it"
            }
            Fate::Ambiguous => "another key has the same path without empty segments; rename the object or exclude it",
            Fate::Repeated => "listed twice, identical",
            Fate::Superseded => "listed twice; the newest is shown",
            Fate::Shadowed => "a deeper mount owns this path; exclude it here or move the mount",
            Fate::Excluded => "left out by include or exclude patterns",
            Fate::DotSegment => "a segment is '.' or '..', which no file can be called; rename the object or exclude it",
            Fate::Nul => "the key holds a NUL character, which no file name can; rename the object or exclude it",
            Fate::NameTooLong => "a segment is longer than 255 bytes; rename the object or exclude it",
            Fate::PathTooLong => "the path is longer than a system call takes; mount a deeper prefix or exclude it",
            Fate::VersionTooLong => "the store's version token is longer than 4096 bytes; exclude the object",
            Fate::Unrepresentable => "the name is no valid text; rename it in the store",
        }
    }
}

/// One object whose fate people may want to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// Number of the mount in the dataset's list.
    pub mount: u16,
    /// The object's key relative to the mount's root, shortened to 4,096 bytes; of a rejected name what the store said.
    pub key: String,
    /// What became of it.
    pub fate: Fate,
    /// The fate's reason, or the store's for a rejected name.
    pub reason: String,
    /// The path in the dataset, `/a/b`, at which it would be or is shown; `None` where it has no path.
    pub path: Option<String>,
}

/// What became of a listing: a count for each fate and some examples of each that is of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Objects for each fate; a fate that nobody had is absent.
    pub counts: BTreeMap<Fate, u64>,
    /// The first [`crate::MAX_SAMPLES`] of each sampled fate by mount and key, whatever the order of the listing;
    /// those that cannot be read ([`Fate::is_problem`]) come first.
    pub sample: Vec<Sample>,
}

impl Report {
    /// Objects with this fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.counts.get(&fate).copied().unwrap_or(0)
    }

    /// Objects listed, whatever became of them.
    pub fn listed(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Objects whose bytes cannot be read although nobody asked for that.
    pub fn rejected(&self) -> u64 {
        Fate::ALL.into_iter().filter(|f| f.is_problem()).map(|f| self.count(f)).sum()
    }
}
