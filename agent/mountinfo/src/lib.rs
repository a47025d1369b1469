//! The kernel's list of mounts, as this process sees it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// `major:minor` of the mounted file system: the same for every bind of one mount, and the name of its files under `/sys`.
    pub device: String,
    /// The mount point.
    pub at: PathBuf,
    /// Whether this mount may not be written through.
    pub readonly: bool,
    /// The type of the file system, such as `fuse.forebay`.
    pub fs_type: String,
    /// What is mounted, in the words of who mounted it.
    pub source: String,
}

/// All mounts; of several at one place the last covers the others.
#[derive(Debug, Default)]
pub struct Mounts(Vec<MountEntry>);

impl Mounts {
    /// The mounts now.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Takes `/proc/self/mountinfo` apart. Lines that do not fit `proc(5)` are left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// What is seen at `at`, if it is a mount point.
    #[must_use]
    pub fn visible(&self, at: &Path) -> Option<&MountEntry> {
        self.0.iter().rev().find(|mount| mount.at == at)
    }

    /// How many mounts stand at `at`, covered ones included.
    #[must_use]
    pub fn count_at(&self, at: &Path) -> usize {
        self.0.iter().filter(|mount| mount.at == at).count()
    }

    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &MountEntry> {
        self.0.iter()
    }
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let readonly = fields.next()?.split(|byte| *byte == b',').any(|option| option == b"ro");
    // Optional fields of any number stand before a lone hyphen.
    fields.find(|field| *field == b"-")?;
    Some(MountEntry { device, at, readonly, fs_type: text(fields.next()?), source: text(fields.next()?) })
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
mod tests;
