//! The file format, version 1. All numbers are little-endian.
//!
//! ```text
//! header   4096 bytes: magic "FOREBAY\x01CATALOG" (16), format version u32, entries u32, file length u64,
//!          5 x { offset u64, length u64, crc32c u32, zero u32 }, crc32c of all of it u32, zeros
//! records  44 bytes an entry, breadth first; the root is entry 0; a directory's children are adjacent and sorted
//!          by the bytes of their names
//! buckets  u32 each, one more than there are buckets: where in `inos` the numbers with equal top bits begin
//! inos     u32 an entry: entry indexes sorted by inode number
//! heap     for each entry its name, its key where that is not the path below the mount, its version token
//! meta     JSON of `Meta`
//! ```

use serde::{Deserialize, Serialize};

use crate::ino::INO_BITS;
use crate::token::TokenKind;
use crate::{MountSpec, MountTotals, Report};

pub(crate) const MAGIC: [u8; 16] = *b"FOREBAY\x01CATALOG\n";
pub(crate) const FORMAT: u32 = 1;
pub(crate) const HEADER_LEN: usize = 4096;
pub(crate) const RECORD_LEN: usize = 44;
/// Longest meta section that is read into memory.
pub(crate) const MAX_META: u64 = 64 << 20;

/// Numbers of the sections in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Records = 0,
    Buckets = 1,
    Inos = 2,
    Heap = 3,
    Meta = 4,
}

pub(crate) const SECTIONS: usize = 5;

/// Where a section lies and what its bytes add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) entries: u32,
    pub(crate) file_len: u64,
    pub(crate) sections: [Extent; SECTIONS],
}

/// Why a header is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Format(u32),
    Damaged(&'static str),
}

const EXTENTS_AT: usize = 32;
const EXTENT_LEN: usize = 24;
const CRC_AT: usize = EXTENTS_AT + SECTIONS * EXTENT_LEN;

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..16].copy_from_slice(&MAGIC);
        out[16..20].copy_from_slice(&FORMAT.to_le_bytes());
        out[20..24].copy_from_slice(&self.entries.to_le_bytes());
        out[24..32].copy_from_slice(&self.file_len.to_le_bytes());
        for (i, extent) in self.sections.iter().enumerate() {
            let at = EXTENTS_AT + i * EXTENT_LEN;
            out[at..at + 8].copy_from_slice(&extent.offset.to_le_bytes());
            out[at + 8..at + 16].copy_from_slice(&extent.len.to_le_bytes());
            out[at + 16..at + 20].copy_from_slice(&extent.crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header of a file of `actual_len` bytes. What comes back lies within the file, and lengths agree with
    /// the number of entries, so that later reads need to check only what records say.
    pub(crate) fn decode(bytes: &[u8], actual_len: u64) -> Result<Self, HeaderError> {
        use HeaderError::Damaged;
        if bytes.len() < HEADER_LEN {
            return Err(Damaged("it is shorter than a header"));
        }
        if bytes[..16] != MAGIC {
            return Err(Damaged("it does not begin as a catalog does"));
        }
        let format = u32_at(bytes, 16);
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(Damaged("the header's checksum is wrong"));
        }
        let extent = |i: usize| {
            let at = EXTENTS_AT + i * EXTENT_LEN;
            Extent { offset: u64_at(bytes, at), len: u64_at(bytes, at + 8), crc: u32_at(bytes, at + 16) }
        };
        let header = Self {
            entries: u32_at(bytes, 20),
            file_len: u64_at(bytes, 24),
            sections: [extent(0), extent(1), extent(2), extent(3), extent(4)],
        };
        if header.file_len != actual_len {
            return Err(Damaged("its length is not the one that its header states"));
        }
        let inside =
            |e: &Extent| e.offset >= HEADER_LEN as u64 && e.offset.checked_add(e.len).is_some_and(|end| end <= actual_len);
        if !header.sections.iter().all(inside) {
            return Err(Damaged("a section lies outside of the file"));
        }
        let n = u64::from(header.entries);
        let lengths = [n * RECORD_LEN as u64, (buckets(header.entries) + 1) * 4, n * 4];
        if n == 0 || lengths.iter().zip(&header.sections).any(|(len, section)| section.len != *len) {
            return Err(Damaged("a section's length does not fit the number of entries"));
        }
        if header.section(Section::Meta).len > MAX_META {
            return Err(Damaged("its description is too long"));
        }
        Ok(header)
    }

    pub(crate) fn section(&self, section: Section) -> Extent {
        self.sections[section as usize]
    }

    /// The same with another description, which is the last section.
    pub(crate) fn with_meta(mut self, len: u64, crc: u32) -> Self {
        let meta = &mut self.sections[Section::Meta as usize];
        (meta.len, meta.crc) = (len, crc);
        self.file_len = meta.offset + len;
        self
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]))
}

/// Bits of an inode number that choose its bucket: four to eight numbers share one.
pub(crate) fn bucket_bits(entries: u32) -> u32 {
    entries.max(1).ilog2().saturating_sub(2)
}

pub(crate) fn buckets(entries: u32) -> u64 {
    1 << bucket_bits(entries)
}

/// The bucket of `ino`, which has at most 63 bits.
pub(crate) fn bucket(ino: u64, entries: u32) -> u64 {
    ino >> (INO_BITS - bucket_bits(entries))
}

/// One entry as stored. For a directory `size` holds its first child (low half) and number of children (high half).
///
/// ```text
///  0 ino u64   8 size u64   16 mtime i64   24 heap offset u64   32 parent u32   36 mount u16
/// 38 name length u8   39 flags u8   40 a file's key length u16, token length u16; a directory's subdirectories u32
/// flags: 1 directory, 2 the heap holds the key, 4 and 8 token kind
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) ino: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) heap: u64,
    pub(crate) parent: u32,
    pub(crate) mount: u16,
    pub(crate) name_len: u8,
    pub(crate) kind: RecordKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Directory { first: u32, count: u32, subdirectories: u32 },
    File { size: u64, has_key: bool, key_len: u16, token_kind: TokenKind, token_len: u16 },
}

const DIRECTORY: u8 = 1;
const HAS_KEY: u8 = 2;
const TOKEN_SHIFT: u8 = 2;
/// Where a record's inode number lies in it, for those who need nothing else; likewise those below.
pub(crate) const INO_AT: usize = 0;
pub(crate) const HEAP_AT: usize = 24;
pub(crate) const NAME_LEN_AT: usize = 38;

impl Record {
    pub(crate) fn encode(&self) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        let (size, flags, lengths) = match self.kind {
            RecordKind::Directory { first, count, subdirectories } => {
                (u64::from(first) | u64::from(count) << 32, DIRECTORY, subdirectories)
            }
            RecordKind::File { size, has_key, key_len, token_kind, token_len } => {
                let key = if has_key { HAS_KEY } else { 0 };
                let lengths = u32::from(key_len) | u32::from(token_len) << 16;
                (size, key | (token_kind as u8) << TOKEN_SHIFT, lengths)
            }
        };
        out[INO_AT..INO_AT + 8].copy_from_slice(&self.ino.to_le_bytes());
        out[8..16].copy_from_slice(&size.to_le_bytes());
        out[16..24].copy_from_slice(&self.mtime_ns.to_le_bytes());
        out[HEAP_AT..HEAP_AT + 8].copy_from_slice(&self.heap.to_le_bytes());
        out[32..36].copy_from_slice(&self.parent.to_le_bytes());
        out[36..38].copy_from_slice(&self.mount.to_le_bytes());
        out[NAME_LEN_AT] = self.name_len;
        out[39] = flags;
        out[40..44].copy_from_slice(&lengths.to_le_bytes());
        out
    }

    /// Every 44 bytes are some record; whether it makes sense is the reader's to check.
    pub(crate) fn decode(bytes: &[u8; RECORD_LEN]) -> Self {
        let (size, lengths, flags) = (u64_at(bytes, 8), u32_at(bytes, 40), bytes[39]);
        let low = |n: u64| u32::try_from(n & 0xffff_ffff).unwrap_or(u32::MAX);
        let half = |n: u32| u16::try_from(n & 0xffff).unwrap_or(u16::MAX);
        let kind = if flags & DIRECTORY != 0 {
            RecordKind::Directory { first: low(size), count: low(size >> 32), subdirectories: lengths }
        } else {
            RecordKind::File {
                size,
                has_key: flags & HAS_KEY != 0,
                key_len: half(lengths),
                token_kind: TokenKind::from_bits(flags >> TOKEN_SHIFT),
                token_len: half(lengths >> 16),
            }
        };
        Self {
            ino: u64_at(bytes, INO_AT),
            mtime_ns: u64_at(bytes, 16).cast_signed(),
            heap: u64_at(bytes, HEAP_AT),
            parent: u32_at(bytes, 32),
            mount: u16::from_le_bytes([bytes[36], bytes[37]]),
            name_len: bytes[NAME_LEN_AT],
            kind,
        }
    }

    /// Bytes of the heap that belong to this entry.
    pub(crate) fn heap_len(&self) -> u64 {
        u64::from(self.name_len)
            + match self.kind {
                RecordKind::Directory { .. } => 0,
                RecordKind::File { key_len, token_len, .. } => u64::from(key_len) + u64::from(token_len),
            }
    }
}

/// What the meta section says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Meta {
    pub(crate) dataset: String,
    pub(crate) generation: u64,
    pub(crate) listed_at_ns: i64,
    pub(crate) mounts: Vec<MountSpec>,
    /// In the order of `mounts`.
    pub(crate) totals: Vec<MountTotals>,
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) bytes: u64,
    pub(crate) report: Report,
}

#[cfg(test)]
mod tests;
