//! The kernel's list of mounts, as this process sees it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// `major:minor` of the mounted file system: the same for every bind of one mount.
    pub(crate) number: String,
    pub(crate) at: PathBuf,
    /// Whether this mount may not be written through.
    pub(crate) readonly: bool,
    pub(crate) fs_type: String,
    pub(crate) source: String,
}

/// All mounts; of several at one place the last covers the others.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<MountEntry>);

impl Mounts {
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Lines that do not fit `proc(5)` are left out.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// What is seen at `at`, if it is a mount point.
    pub(crate) fn visible(&self, at: &Path) -> Option<&MountEntry> {
        self.0.iter().rev().find(|mount| mount.at == at)
    }

    /// How many mounts stand at `at`, covered ones included.
    pub(crate) fn count_at(&self, at: &Path) -> usize {
        self.0.iter().filter(|mount| mount.at == at).count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &MountEntry> {
        self.0.iter()
    }
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let number = text(fields.nth(2)?);
    let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let readonly = fields.next()?.split(|byte| *byte == b',').any(|option| option == b"ro");
    // Optional fields of any number stand before a lone hyphen.
    fields.find(|field| *field == b"-")?;
    Some(MountEntry { number, at, readonly, fs_type: text(fields.next()?), source: text(fields.next()?) })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn the_last_mount_at_a_place_is_the_one_seen() {
        let text = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            40 22 0:51 / /a\\040b ro,nodev master:3 propagate_from:2 - fuse.forebay forebay:ml/x ro,user_id=0\n\
            41 40 0:52 / /a\\040b rw - tmpfs tmpfs rw\n\
            nonsense\n42 40 0:53\n";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.iter().count(), 3);
        let seen = mounts.visible(Path::new("/a b")).unwrap();
        assert_eq!((seen.number.as_str(), seen.fs_type.as_str(), seen.readonly), ("0:52", "tmpfs", false));
        let covered = mounts.iter().nth(1).unwrap();
        assert_eq!((covered.source.as_str(), covered.readonly), ("forebay:ml/x", true));
        assert!(mounts.visible(Path::new("/a")).is_none());
    }
}
