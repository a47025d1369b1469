//! What things cost on the file system, never less than they really take.
//!
//! Data is counted in units of 4 KiB. Each block is charged one unit more for the extents that describe it, each file one
//! for its attribute block or sidecar, and some bytes for its directory entry. Measured on ext4 and tmpfs with real `st_blocks`.

use crate::id::{block_count, block_len};
use crate::meta;

/// Allocation unit of the file systems that tiers lie on.
pub(crate) const UNIT: u64 = 4096;
/// Two names in a directory (the file's and its sidecar's), with the slack of a directory that grows by splitting.
const NAME: u64 = 512;
/// The tier's own directories and its ledger.
pub(crate) const BASE: u64 = 260 * UNIT;

fn round(bytes: u64) -> u64 {
    bytes.next_multiple_of(UNIT)
}

/// A single-block object: file and block at once.
pub(crate) fn small(size: u64) -> u64 {
    round(size) + UNIT + NAME
}

/// A block of a larger object.
pub(crate) fn block(len: u64) -> u64 {
    round(len) + UNIT
}

/// The file of a larger object, without its blocks.
pub(crate) fn file(blocks: u32) -> u64 {
    let meta = if meta::fits_attribute(blocks) { UNIT } else { round(meta::len(blocks) as u64) + UNIT };
    meta + NAME
}

/// An object wholly cached.
pub(crate) fn whole(size: u64) -> u64 {
    let blocks = block_count(size);
    if blocks <= 1 {
        return small(size);
    }
    file(blocks) + u64::from(blocks - 1) * block(crate::BLOCK) + block(block_len(size, blocks - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK;

    #[test]
    fn charges_cover_data_and_overhead() {
        assert_eq!(small(1), 2 * UNIT + NAME);
        assert_eq!(small(BLOCK), BLOCK + UNIT + NAME);
        assert_eq!(block(BLOCK - 1), BLOCK + UNIT);
        assert_eq!(file(253), UNIT + NAME);
        assert!(file(254) >= 2 * UNIT);
        assert!(file(1_000_000) > 8_000_000);
        assert_eq!(whole(BLOCK + 1), file(2) + block(BLOCK) + block(1));
    }
}
