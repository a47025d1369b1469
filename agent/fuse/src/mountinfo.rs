//! The kernel's list of mounts: which are ours, and what stands where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::MountError;

/// The file system type of every Forebay mount.
pub(crate) const FS_TYPE: &str = "fuse.forebay";

/// What the source of every Forebay mount begins with; the Dataset's name follows.
pub(crate) const SOURCE_PREFIX: &str = "forebay:";

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// `major:minor` of the mounted file system; names its files under `/sys`.
    pub(crate) device: String,
    pub(crate) at: PathBuf,
    pub(crate) fs_type: String,
    pub(crate) source: String,
}

impl MountEntry {
    /// Whether this program makes mounts that look so. Both parts must fit: the type alone may be claimed by others.
    pub(crate) fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE && self.source.starts_with(SOURCE_PREFIX)
    }

    /// Type and source, for messages.
    pub(crate) fn describe(&self) -> String {
        format!("type {} from {}", self.fs_type, self.source)
    }
}

/// All mounts that this process sees; of several at one place the last covers the others.
pub(crate) fn read() -> Result<Vec<MountEntry>, MountError> {
    let text = std::fs::read("/proc/self/mountinfo").map_err(|source| MountError::MountInfo { source })?;
    Ok(parse(&text))
}

/// The mount that is visible at `at`, if `at` is a mount point.
pub(crate) fn visible<'a>(mounts: &'a [MountEntry], at: &Path) -> Option<&'a MountEntry> {
    mounts.iter().rev().find(|mount| mount.at == at)
}

/// Parses mountinfo as `proc(5)` describes it. Lines that do not fit are left out.
pub(crate) fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // Optional fields of any number stand before a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    Some(MountEntry { device, at, fs_type, source })
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
