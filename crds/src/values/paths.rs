use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// A path inside a Dataset's tree: absolute and normalised, such as `/` or `/labels/train`.
///
/// No `.`, `..` or empty segment, no slash at the end, no control character; segments up to 255 bytes, the whole
/// up to 1024 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<str>);

/// A directory or file of the node: absolute and normalised like [`TreePath`], and not `/` itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPath(Box<str>);

/// Longest path, in characters.
const PATH_CHARS: usize = 1024;
/// Longest segment, in bytes: what Linux takes as a file name.
const SEGMENT_BYTES: usize = 255;

impl TreePath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text; begins with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without the leading `/`: empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The segments from the top; none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.relative().split('/').filter(|s| !s.is_empty())
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &TreePath) -> bool {
        is_within(&self.0, &other.0)
    }
}

impl HostPath {
    /// The path as text; begins with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for file operations.
    pub fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(&*self.0)
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &HostPath) -> bool {
        is_within(&self.0, &other.0)
    }
}

pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why `path` is not absolute and normalised; `None` when it is.
pub(super) fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    let Some(relative) = path.strip_prefix('/') else {
        return Some("it does not begin with '/'");
    };
    if path.chars().count() > PATH_CHARS {
        return Some("it is longer than 1024 characters");
    }
    if path.chars().any(is_control) {
        return Some("it contains a control character");
    }
    if relative.is_empty() {
        return None;
    }
    if relative.ends_with('/') {
        return Some("it ends with '/'");
    }
    relative.split('/').find_map(|segment| match segment {
        "" => Some("it has an empty segment ('//')"),
        "." | ".." => Some("it has a '.' or '..' segment"),
        _ if segment.len() > SEGMENT_BYTES => Some("a segment is longer than 255 bytes"),
        _ => None,
    })
}

/// The characters that no path, key prefix or pattern may contain; the schema's patterns have the same set.
pub(super) fn is_control(c: char) -> bool {
    c < ' ' || c == '\u{7f}'
}

impl Text for TreePath {
    const PATTERN: &'static str =
        r"^(/|(/([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+))+)$";
    const LENGTH: (u64, u64) = (1, PATH_CHARS as u64);
    const DESCRIPTION: &'static str = "An absolute, normalised path in the Dataset's tree, such as / or /labels.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(fault) => Err(ValueError::new(
                format!("{} is not a path in a Dataset's tree: {fault}", quoted(text)),
                "write an absolute path without '.', '..', '//' and without '/' at the end, such as / or /labels",
            )),
        }
    }
}

impl Text for HostPath {
    const PATTERN: &'static str =
        r"^(/([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+))+$";
    const LENGTH: (u64, u64) = (2, PATH_CHARS as u64);
    const DESCRIPTION: &'static str = "An absolute, normalised path on the node, not / itself, such as /var/lib/forebay.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let fault = if text == "/" { Some("it is the root of the file system") } else { fault(text) };
        match fault {
            None => Ok(Self(text.into())),
            Some(fault) => Err(ValueError::new(
                format!("{} is not a path on a node: {fault}", quoted(text)),
                "write an absolute path without '.', '..', '//' and without '/' at the end, such as /var/lib/forebay",
            )),
        }
    }
}

text_type!(TreePath);
text_type!(HostPath);
