//! What a cached file says about itself: a header and a record per block.
//!
//! ```text
//! header  magic "FB" | version u8 | flags u8 | size u64 | dataset u64 | check u32     24 bytes, little endian
//! record  crc u32 (CRC-32C of the block's bytes) | check u32                           8 bytes a block
//! ```
//! Both checks are CRC-32Cs that cover the object's id, a record's also the block's number. So a file under another
//! object's name says nothing, and a torn record is no record: eight zero bytes (never written, cleared) are none either,
//! because a record's check is never zero. Records stand at fixed places, so that one is replaced by a single small write.

use crate::ObjectId;

/// Bytes of the header.
pub(crate) const HEADER: usize = 24;
/// Bytes of a record.
pub(crate) const RECORD: usize = 8;
/// The most that goes into an extended attribute: ext4 gives all of a file's attributes one block of 4 KiB.
pub(crate) const ATTRIBUTE_MAX: usize = 2048;

const MAGIC: [u8; 2] = *b"FB";
const VERSION: u8 = 1;
const PINNED: u8 = 1;

/// The header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Size of the object.
    pub(crate) size: u64,
    /// Tag of the Dataset that owns it.
    pub(crate) dataset: u64,
    /// Whether it is pinned.
    pub(crate) pinned: bool,
}

/// Bytes of meta data for an object of `blocks` blocks.
pub(crate) fn len(blocks: u32) -> usize {
    HEADER + blocks as usize * RECORD
}

/// Whether so many blocks' meta data goes into an attribute where there are attributes.
pub(crate) fn fits_attribute(blocks: u32) -> bool {
    len(blocks) <= ATTRIBUTE_MAX
}

/// Where the record of a block stands.
pub(crate) fn record_at(block: u32) -> usize {
    HEADER + block as usize * RECORD
}

pub(crate) fn encode_header(id: &ObjectId, header: Header) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..2].copy_from_slice(&MAGIC);
    out[2] = VERSION;
    out[3] = if header.pinned { PINNED } else { 0 };
    out[4..12].copy_from_slice(&header.size.to_le_bytes());
    out[12..20].copy_from_slice(&header.dataset.to_le_bytes());
    let check = crc32c::crc32c_append(crc32c::crc32c(&id.0), &out[..20]);
    out[20..].copy_from_slice(&check.to_le_bytes());
    out
}

/// `None` when it is not a header of this object that this version can read.
pub(crate) fn decode_header(id: &ObjectId, meta: &[u8]) -> Option<Header> {
    let raw = meta.get(..HEADER)?;
    let check = crc32c::crc32c_append(crc32c::crc32c(&id.0), &raw[..20]);
    if raw[..2] != MAGIC || raw[2] != VERSION || u32_at(raw, 20)? != check {
        return None;
    }
    Some(Header { size: u64_at(raw, 4)?, dataset: u64_at(raw, 12)?, pinned: raw[3] & PINNED != 0 })
}

/// The record that says "block `block` is here and has this checksum".
pub(crate) fn encode_record(id: &ObjectId, block: u32, crc: u32) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out[4..].copy_from_slice(&record_check(id, block, crc).to_le_bytes());
    out
}

/// The checksum of a block, or `None` when the record says that the block is absent or says nothing.
pub(crate) fn decode_record(id: &ObjectId, block: u32, record: &[u8]) -> Option<u32> {
    let crc = u32_at(record, 0)?;
    (u32_at(record, 4)? == record_check(id, block, crc)).then_some(crc)
}

/// The checksum of a block in whole meta data.
pub(crate) fn record(id: &ObjectId, meta: &[u8], block: u32) -> Option<u32> {
    let at = record_at(block);
    decode_record(id, block, meta.get(at..at + RECORD)?)
}

fn record_check(id: &ObjectId, block: u32, crc: u32) -> u32 {
    let check = crc32c::crc32c_append(crc32c::crc32c(&id.0), &block.to_le_bytes());
    crc32c::crc32c_append(check, &crc.to_le_bytes()) | 1
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    const ID: ObjectId = ObjectId([7; 32]);
    const OTHER: ObjectId = ObjectId([8; 32]);

    #[test]
    fn header_round_trips_and_every_flipped_bit_is_seen() {
        for header in [Header { size: 0, dataset: 0, pinned: false }, Header { size: u64::MAX, dataset: 1 << 63, pinned: true }] {
            let raw = encode_header(&ID, header);
            assert_eq!(decode_header(&ID, &raw), Some(header));
            assert_eq!(decode_header(&OTHER, &raw), None);
            for bit in 0..HEADER * 8 {
                let mut torn = raw;
                torn[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode_header(&ID, &torn), None, "bit {bit}");
            }
        }
        assert_eq!(decode_header(&ID, &[]), None);
    }

    #[test]
    fn record_round_trips_and_belongs_to_one_block_of_one_object() {
        for crc in [0, 1, u32::MAX] {
            let raw = encode_record(&ID, 3, crc);
            assert_eq!(decode_record(&ID, 3, &raw), Some(crc));
            assert_eq!(decode_record(&ID, 4, &raw), None);
            assert_eq!(decode_record(&OTHER, 3, &raw), None);
            for cut in 0..RECORD {
                let mut torn = raw;
                torn[cut..].fill(0);
                assert_eq!(decode_record(&ID, 3, &torn), None, "torn after {cut} bytes");
            }
        }
        assert_eq!(decode_record(&ID, 0, &[0; RECORD]), None);
    }

    #[test]
    fn records_stand_behind_the_header() {
        let mut meta = vec![0; len(2)];
        meta[record_at(1)..].copy_from_slice(&encode_record(&ID, 1, 9));
        assert_eq!((record(&ID, &meta, 0), record(&ID, &meta, 1), record(&ID, &meta, 2)), (None, Some(9), None));
        assert!(fits_attribute(253) && !fits_attribute(254));
    }
}
