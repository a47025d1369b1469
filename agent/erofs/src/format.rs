//! The subset of EROFS's on-disk format that is written. All numbers are little-endian.
//!
//! ```text
//! block 0         zeros, the superblock at 1024
//! block 1...      inodes, breadth first, the root at byte 32 so that its number is 1; each with its attributes and the end of
//!                 its directory behind it, none across a block's end
//! behind          the blocks of directories that are longer than what fits behind their inode
//! ```
//! Inodes are of the extended kind. A file with bytes is chunk-based and all hole: it has its length, but not one block. An inode's
//! number, which the kernel shows as `st_ino`, is where it lies: the offset from block 1 in units of 32 bytes.

use std::io::{self, Read};

/// Bytes in a block.
pub const BLOCK: usize = 4096;
/// The longest file: the kernel rounds lengths up to blocks, in 63 bits.
pub const MAX_SIZE: u64 = i64::MAX as u64 / BLOCK as u64 * BLOCK as u64;
/// Bytes in the units that inode numbers count.
pub(crate) const SLOT: u64 = 32;
/// Number of the root's inode.
pub(crate) const ROOT_NID: u16 = 1;
/// Where that lies in its block.
pub(crate) const ROOT_AT: usize = ROOT_NID as usize * SLOT as usize;
/// The block that inode numbers count from.
pub(crate) const META_BLOCK: u32 = 1;
/// Bytes of an inode without attributes.
pub(crate) const INODE_LEN: usize = 64;
pub(crate) const DIRENT_LEN: usize = 12;

const SUPER_AT: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const COMPAT_CHECKSUM: u32 = 1;
const COMPAT_MTIME: u32 = 2;
const INCOMPAT_CHUNKED_FILE: u32 = 4;

/// The part of the superblock that is not the same in every image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Superblock {
    pub(crate) inodes: u64,
    pub(crate) blocks: u32,
    pub(crate) uuid: [u8; 16],
}

impl Superblock {
    fn decode(block: &[u8; BLOCK]) -> Self {
        let at = |at: usize| &block[SUPER_AT + at..];
        Self {
            inodes: at(16).first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
            blocks: at(36).first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)),
            uuid: at(48).first_chunk().copied().unwrap_or_default(),
        }
    }

    /// Block 0.
    pub(crate) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let out = &mut block[SUPER_AT..];
        put(out, 0, &MAGIC.to_le_bytes());
        put(out, 8, &(COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        out[12] = 12; // block size, as a power of two
        put(out, 14, &ROOT_NID.to_le_bytes());
        put(out, 16, &self.inodes.to_le_bytes());
        put(out, 36, &self.blocks.to_le_bytes());
        put(out, 40, &META_BLOCK.to_le_bytes());
        put(out, 48, &self.uuid);
        put(out, 80, &INCOMPAT_CHUNKED_FILE.to_le_bytes());
        // Over the rest of the block, as the kernel computes it: without the last inversion of the usual CRC-32C.
        let checksum = !crc32c::crc32c(out);
        put(out, 4, &checksum.to_le_bytes());
        block
    }
}

/// The id that an image was written with.
///
/// # Errors
/// Those of `image`, and when it is not the beginning of an image.
pub fn read_uuid(image: &mut impl Read) -> io::Result<[u8; 16]> {
    let mut block = [0; BLOCK];
    image.read_exact(&mut block)?;
    let superblock = Superblock::decode(&block);
    if superblock.encode() == block { Ok(superblock.uuid) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What stands in an inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inode {
    pub(crate) layout: Layout,
    /// Type and permission bits, as in `st_mode`.
    pub(crate) mode: u16,
    pub(crate) size: u64,
    pub(crate) xattr_len: usize,
    /// For compatibility with 32 bits; the kernel of a 64-bit machine does not look at it.
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_ns: i64,
    pub(crate) links: u32,
}

/// Where an inode's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In blocks from this one on.
    Plain { block: u32 },
    /// In blocks from this one on, but for the end of less than a block, which lies behind the inode.
    Inline { block: u32 },
    /// In chunks of as many blocks as a power of two says, whose addresses lie behind the inode.
    Chunks { bits: u16 },
}

impl Inode {
    pub(crate) fn encode(&self) -> [u8; INODE_LEN] {
        let (layout, place) = match self.layout {
            Layout::Plain { block } => (0, block),
            Layout::Inline { block } => (2, block),
            Layout::Chunks { bits } => (4, u32::from(bits)),
        };
        let format: u16 = 1 | layout << 1;
        // The header counts as one unit of 4 bytes, whatever its length.
        let xattr_units = if self.xattr_len == 0 { 0 } else { 1 + (self.xattr_len - XATTR_HEADER_LEN) / 4 };
        let mut out = [0; INODE_LEN];
        put(&mut out, 0, &format.to_le_bytes());
        put(&mut out, 2, &u16::try_from(xattr_units).unwrap_or(u16::MAX).to_le_bytes());
        put(&mut out, 4, &self.mode.to_le_bytes());
        put(&mut out, 8, &self.size.to_le_bytes());
        put(&mut out, 16, &place.to_le_bytes());
        put(&mut out, 20, &self.number.to_le_bytes());
        put(&mut out, 24, &self.uid.to_le_bytes());
        put(&mut out, 28, &self.gid.to_le_bytes());
        put(&mut out, 32, &self.mtime_ns.div_euclid(NANOS).to_le_bytes());
        put(&mut out, 40, &u32::try_from(self.mtime_ns.rem_euclid(NANOS)).unwrap_or(0).to_le_bytes());
        put(&mut out, 44, &self.links.to_le_bytes());
        out
    }
}

const NANOS: i64 = 1_000_000_000;

/// Chunks of the longest kind: 2^31 blocks, 8 TiB.
pub(crate) const CHUNK_BITS: u16 = 31;
const CHUNK: u64 = (BLOCK as u64) << CHUNK_BITS;

/// Bytes of the addresses of a file's chunks, each of them that of a hole.
pub(crate) fn holes_len(size: u64) -> usize {
    // At most 2^20 chunks, since a size has at most 63 bits.
    usize::try_from(size.div_ceil(CHUNK)).unwrap_or(usize::MAX).saturating_mul(4)
}

/// The byte of which an address of a hole consists.
pub(crate) const HOLE: u8 = 0xff;

const XATTR_HEADER_LEN: usize = 12;
/// Number of the prefix `trusted.`.
const TRUSTED: u8 = 4;
const METACOPY: &[u8] = b"overlay.metacopy";
const REDIRECT: &[u8] = b"overlay.redirect";
/// Length of [`object_path`].
pub(crate) const OBJECT_PATH_LEN: usize = 66;
/// Length of [`redirect`]'s answer: the header, an entry without a value, and one with a path, each padded to 4 bytes.
pub(crate) const XATTR_LEN: usize =
    XATTR_HEADER_LEN + 4 + METACOPY.len() + (4 + REDIRECT.len() + OBJECT_PATH_LEN).next_multiple_of(4);

/// The attributes that tell overlayfs where the bytes of a file are.
pub(crate) fn redirect(object: &[u8; 32]) -> [u8; XATTR_LEN] {
    let mut out = [0; XATTR_LEN];
    let second = push_xattr(&mut out, XATTR_HEADER_LEN, METACOPY, b"");
    push_xattr(&mut out, second, REDIRECT, &object_path(object));
    out
}

fn push_xattr(out: &mut [u8], at: usize, name: &[u8], value: &[u8]) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "both lengths are known and small")]
    let lengths = (name.len() as u8, value.len() as u16);
    out[at] = lengths.0;
    out[at + 1] = TRUSTED;
    put(out, at + 2, &lengths.1.to_le_bytes());
    put(out, at + 4, name);
    put(out, at + 4 + name.len(), value);
    (at + 4 + name.len() + value.len()).next_multiple_of(4)
}

/// The absolute path of an object in a data-only layer: `/xx/` and 62 more hexadecimal digits of its name.
pub fn object_path(object: &[u8; 32]) -> [u8; 66] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut path = [b'/'; OBJECT_PATH_LEN];
    for (i, byte) in object.iter().enumerate() {
        let at = if i == 0 { 1 } else { 2 + 2 * i };
        path[at] = DIGITS[usize::from(byte >> 4)];
        path[at + 1] = DIGITS[usize::from(byte & 15)];
    }
    path
}

/// What a directory says of an entry beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent {
    pub(crate) nid: u64,
    pub(crate) directory: bool,
}

impl Dirent {
    /// As stored; the name lies at `name_at` of the same block.
    pub(crate) fn encode(self, name_at: usize) -> [u8; DIRENT_LEN] {
        let mut out = [0; DIRENT_LEN];
        put(&mut out, 0, &self.nid.to_le_bytes());
        put(&mut out, 8, &u16::try_from(name_at).unwrap_or(u16::MAX).to_le_bytes());
        out[10] = if self.directory { 2 } else { 1 };
        out
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}
