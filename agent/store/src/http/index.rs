//! The text file with one path a line: pure.

use super::list::Directory;
use super::url::is_key;
use crate::Unrepresentable;

/// All keys of an index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Sorted, each once.
    keys: Vec<String>,
    bad: Vec<Unrepresentable>,
}

impl Index {
    /// Reads the lines. `./` in front (as `find` writes it) is ignored, and so are paths that end with `/`.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut index = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut bad = |reason: &str| {
                let lossy = String::from_utf8_lossy(line).into_owned();
                index.bad.push(Unrepresentable { lossy, reason: reason.to_owned() });
            };
            let Ok(key) = std::str::from_utf8(line) else {
                bad("the path is not UTF-8");
                continue;
            };
            let key = key.strip_prefix("./").unwrap_or(key);
            if key.is_empty() || key.starts_with('#') || key == "." {
                continue;
            }
            if !is_key(key) || key.contains('\0') {
                bad("the path must be relative, without '.' and '..'");
            } else if !key.ends_with('/') {
                index.keys.push(key.to_owned());
            }
        }
        index.keys.sort_unstable();
        index.keys.dedup();
        index
    }

    /// The names one level below a directory (empty, or ending with `/`).
    pub(super) fn directory(&self, directory: &str) -> Directory {
        let start = self.keys.partition_point(|key| key.as_str() < directory);
        let mut names: Vec<String> = Vec::new();
        for key in &self.keys[start..] {
            let Some(rest) = key.strip_prefix(directory) else { break };
            let name = match rest.find('/') {
                Some(slash) => &rest[..=slash],
                None => rest,
            };
            // Keys of one directory stand together, so its name was the last or never.
            if !name.is_empty() && names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        let bad = if directory.is_empty() { self.bad.clone() } else { Vec::new() };
        Directory::new(names, bad)
    }

    /// About how much memory it takes.
    pub(super) fn weight(&self) -> usize {
        self.keys.iter().map(|key| key.len() + 24).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_directories() {
        let text = b"# comment\n./b/x\r\na\n\nb/y/z\nb.txt\na\nb//w\ndir/\n../up\n/abs\nbad-\xff\nsp ace";
        let index = Index::parse(text);
        let root = index.directory("");
        assert_eq!(root.names(), ["a", "b.txt", "b/", "sp ace"]);
        let bad: Vec<&str> = root.bad().iter().map(|bad| bad.lossy.as_str()).collect();
        assert_eq!(bad, ["../up", "/abs", "bad-\u{fffd}"]);
        assert_eq!(index.directory("b/").names(), ["/", "x", "y/"]);
        assert_eq!(index.directory("b//").names(), ["w"]);
        assert_eq!(index.directory("nope/").names(), [""; 0]);
        assert!(index.directory("b/").bad().is_empty());
    }
}
