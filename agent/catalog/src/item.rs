//! What is sorted: one byte string an object or directory, in memcmp order of (depth, path by components, rank).
//!
//! ```text
//! depth (u16 BE)  name NUL  name NUL ...  tail
//! tail of a directory: 0, newest first (8)
//! tail of a file:      1 or 2 (2: followed by the key and NUL), newest first (8), largest first (8),
//!                      token kind (1), mount (u16 BE), token bytes
//! ```
//! Names and keys hold no NUL, so NUL sorts a parent's children together, and a name before its extensions.
//! Directories of one depth come in the order in which the groups of their children come one depth below, so one
//! pass over the stream can link them. Of all items at one path the first decides: a directory wins over a file,
//! the key that is the path over others, the newest version over older ones.

use crate::token::{self, TokenKind};

/// Appends the prefix of the item at `path`, relative to the dataset's root; `""` is the root itself.
pub(crate) fn push_path(path: &str, out: &mut Vec<u8>) {
    let depth = if path.is_empty() { 0 } else { 1 + path.bytes().filter(|&b| b == b'/').count() };
    // A path has at most MAX_PATH bytes.
    out.extend_from_slice(&u16::try_from(depth).unwrap_or(u16::MAX).to_be_bytes());
    if depth > 0 {
        out.extend(path.bytes().map(|b| if b == b'/' { 0 } else { b }));
        out.push(0);
    }
}

/// Appends the tail of a directory; `mtime_ns` 0 says nothing of its age.
pub(crate) fn push_directory(mtime_ns: i64, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&newest_first(mtime_ns));
}

/// Appends the tail of a file. `key` is given where it is not the path below the mount.
pub(crate) fn push_file(key: Option<&str>, mount: u16, size: u64, mtime_ns: i64, version: &str, out: &mut Vec<u8>) {
    match key {
        None => out.push(1),
        Some(key) => {
            out.push(2);
            out.extend_from_slice(key.as_bytes());
            out.push(0);
        }
    }
    out.extend_from_slice(&newest_first(mtime_ns));
    out.extend_from_slice(&(!size).to_be_bytes());
    let kind = out.len();
    out.push(0);
    out.extend_from_slice(&mount.to_be_bytes());
    out[kind] = token::encode(version, mtime_ns, out) as u8;
}

/// Whether the item is a directory that says nothing but its path, as each file gives for its ancestors.
pub(crate) fn is_bare_directory(item: &[u8]) -> bool {
    item.len() > 9 && item[item.len() - 9..] == *BARE && split(item).is_some_and(|(_, tail)| tail.len() == 9)
}

const BARE: &[u8; 9] = &[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

fn newest_first(mtime_ns: i64) -> [u8; 8] {
    // Flipping the sign bit orders negative times before positive ones; the complement turns the order round.
    (!(mtime_ns.cast_unsigned() ^ 1 << 63)).to_be_bytes()
}

fn time(bytes: [u8; 8]) -> i64 {
    (!u64::from_be_bytes(bytes) ^ 1 << 63).cast_signed()
}

/// Splits an item into path (depth and names) and tail.
pub(crate) fn split(item: &[u8]) -> Option<(ItemPath<'_>, &[u8])> {
    let (depth, mut rest) = item.split_first_chunk::<2>()?;
    let names = rest;
    for _ in 0..u16::from_be_bytes(*depth) {
        let end = rest.iter().position(|&b| b == 0)?;
        rest = &rest[end + 1..];
    }
    let names = &names[..names.len() - rest.len()];
    Some((ItemPath { depth: u16::from_be_bytes(*depth), names }, rest))
}

/// A path as items hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemPath<'a> {
    /// Names in the path; 0 is the root.
    pub(crate) depth: u16,
    /// Each name with a NUL behind it.
    pub(crate) names: &'a [u8],
}

impl<'a> ItemPath<'a> {
    /// The names of the parent and the last name; of the root both are empty.
    pub(crate) fn parent(self) -> (&'a [u8], &'a [u8]) {
        let Some(body) = self.names.strip_suffix(&[0]) else { return (&[], &[]) };
        let start = body.iter().rposition(|&b| b == 0).map_or(0, |at| at + 1);
        (&self.names[..start], &body[start..])
    }

    /// Writes the path with slashes, relative to the dataset's root, into `out`.
    pub(crate) fn spell(self, out: &mut String) {
        out.clear();
        let body = self.names.strip_suffix(&[0]).unwrap_or_default();
        for (i, name) in body.split(|&b| b == 0).enumerate() {
            if i > 0 {
                out.push('/');
            }
            // Names came from text and were cut at ASCII characters, so they are text.
            out.push_str(&String::from_utf8_lossy(name));
        }
    }
}

/// A tail, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail<'a> {
    Directory { mtime_ns: i64 },
    File(FileTail<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTail<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) mount: u16,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) token_kind: TokenKind,
    pub(crate) token: &'a [u8],
}

/// Reads a tail; `None` if nothing here wrote it.
pub(crate) fn parse_tail(tail: &[u8]) -> Option<Tail<'_>> {
    let (&rank, mut rest) = tail.split_first()?;
    let key = match rank {
        0 => return Some(Tail::Directory { mtime_ns: time(*rest.first_chunk()?) }),
        1 => None,
        _ => {
            let end = rest.iter().position(|&b| b == 0)?;
            let key = std::str::from_utf8(&rest[..end]).ok()?;
            rest = &rest[end + 1..];
            Some(key)
        }
    };
    let (mtime, rest) = rest.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (&kind, rest) = rest.split_first()?;
    let (mount, token) = rest.split_first_chunk::<2>()?;
    Some(Tail::File(FileTail {
        key,
        mount: u16::from_be_bytes(*mount),
        size: !u64::from_be_bytes(*size),
        mtime_ns: time(*mtime),
        token_kind: TokenKind::from_bits(kind),
        token,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    fn item(path: &str, tail: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        push_path(path, &mut out);
        tail(&mut out);
        out
    }

    #[test]
    fn order_is_breadth_first_then_rank() {
        let file = |path: &str, key: Option<&str>, size, mtime| item(path, |out| push_file(key, 3, size, mtime, "e\"aa\"", out));
        let directory = |path: &str, mtime| item(path, |out| push_directory(mtime, out));
        let ordered = [
            directory("", 0),
            directory("a", 9),
            directory("a", 0),
            directory("a", -1),
            file("a", None, 1, 2),
            file("a", None, 9, 1),
            file("a", None, 8, 1),
            file("a", Some("/a"), 8, 7),
            file("a", Some("a//"), 8, 8),
            file("a b", None, 0, 0),
            file("a.b", None, 0, 0),
            file("b", None, 0, 0),
            file("a/z", None, 0, 0),
            file("a b/c", None, 0, 0),
            file("a.b/c", None, 0, 0),
        ];
        for pair in ordered.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        let bare: Vec<bool> = ordered.iter().map(|i| is_bare_directory(i)).collect();
        let expected: Vec<bool> = (0..ordered.len()).map(|i| i == 0 || i == 2).collect();
        assert_eq!(bare, expected);
    }

    proptest! {
        #[test]
        fn items_are_read_back(
            names in prop::collection::vec("[^/\0]{1,9}", 0..5),
            key in prop::option::of("[^\0]{0,9}"),
            mount: u16, size: u64, mtime: i64, version in "(e\"([0-9a-f]{2}){1,4}\"|.{0,9})",
        ) {
            let path = names.join("/");
            let it = item(&path, |out| push_file(key.as_deref(), mount, size, mtime, &version, out));
            let (at, tail) = split(&it).unwrap();
            let mut spelled = String::new();
            at.spell(&mut spelled);
            prop_assert_eq!(&spelled, &path);
            prop_assert_eq!(usize::from(at.depth), names.len());
            prop_assert_eq!(at.parent().1, names.last().map_or(&b""[..], |n| n.as_bytes()));
            let Some(Tail::File(file)) = parse_tail(tail) else { panic!("no file") };
            prop_assert_eq!((file.key, file.mount, file.size, file.mtime_ns), (key.as_deref(), mount, size, mtime));
            prop_assert_eq!(token::decode(file.token_kind, file.token, mtime), version);
            let it = item(&path, |out| push_directory(mtime, out));
            prop_assert_eq!(parse_tail(split(&it).unwrap().1), Some(Tail::Directory { mtime_ns: mtime }));
        }
    }
}
