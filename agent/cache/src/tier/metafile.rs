//! Where an object's meta data lies: in the attribute of its file, or in a sidecar beside it.

use std::io;

use crate::ObjectId;
use crate::id::block_count;
use crate::io::{FileIo, Mode, TierIo};
use crate::meta::{self, Header};

/// Path of an object's file.
pub(crate) fn path(id: &ObjectId) -> String {
    let hex = id.hex();
    format!("objects/{}/{}", &hex[..2], &hex[2..])
}

/// Path of its sidecar.
pub(crate) fn sidecar(path: &str) -> String {
    format!("{path}.meta")
}

/// An object's meta data, wholly read.
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pub(crate) raw: Vec<u8>,
    pub(crate) sidecar: bool,
}

/// Reads the meta data of the object at `path`, whose file has `len` bytes; `None` when there is none that is valid.
pub(crate) fn load(io: &dyn TierIo, id: &ObjectId, path: &str, len: u64) -> io::Result<Option<Loaded>> {
    let fits = |raw: &[u8]| meta::decode_header(id, raw).filter(|header| header.size == len);
    if let Some(raw) = io.attribute(path)? {
        return Ok(fits(&raw).map(|header| Loaded { header, raw, sidecar: false }));
    }
    let file = match io.open(&sidecar(path), Mode::Existing) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut raw = vec![0; meta::HEADER];
    let n = file.read_at(0, &mut raw)?;
    let Some(header) = fits(&raw[..n]) else { return Ok(None) };
    raw.resize(meta::len(block_count(len)), 0);
    let n = file.read_at(0, &mut raw)?;
    raw.truncate(n);
    Ok(Some(Loaded { header, raw, sidecar: true }))
}

/// Writes the meta data of a new file: a header and records for blocks `0..`. Whether it became a sidecar.
///
/// The attribute gets its full length at once, so that no later record can fail for want of room.
pub(crate) fn create(
    io: &dyn TierIo,
    file: &dyn FileIo,
    id: &ObjectId,
    path: &str,
    header: Header,
    blocks: u32,
    crcs: &[u32],
) -> io::Result<bool> {
    let mut raw = meta::encode_header(id, header).to_vec();
    for (block, crc) in crcs.iter().enumerate() {
        raw.extend(meta::encode_record(id, block as u32, *crc));
    }
    if meta::fits_attribute(blocks) {
        raw.resize(meta::len(blocks), 0);
        match file.set_attribute(&raw) {
            Ok(()) => return Ok(false),
            Err(e) if no_room_for_attribute(&e) => {}
            Err(e) => return Err(e),
        }
    }
    let sidecar = io.open(&sidecar(path), Mode::Replace)?;
    sidecar.set_len(meta::len(blocks) as u64)?;
    sidecar.write_at(0, &raw)?;
    Ok(true)
}

/// ENOTSUP, ENOSPC (ext4's word for "no room in the attribute block"), E2BIG, ERANGE, EDQUOT.
fn no_room_for_attribute(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(95 | 28 | 7 | 34 | 122))
}

/// Replaces bytes of existing meta data at `at`.
fn patch(io: &dyn TierIo, file: &dyn FileIo, path: &str, in_sidecar: bool, at: usize, bytes: &[u8]) -> io::Result<()> {
    if in_sidecar {
        return io.open(&sidecar(path), Mode::Existing)?.write_at(at as u64, bytes);
    }
    let mut raw = file.attribute()?.unwrap_or_default();
    if raw.len() < meta::HEADER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file's user.forebay attribute is gone or too short"));
    }
    // Records that were cut off are records of absent blocks.
    raw.resize(raw.len().max(at + bytes.len()), 0);
    raw[at..at + bytes.len()].copy_from_slice(bytes);
    file.set_attribute(&raw)
}

/// Says that a block is present, or (`None`) absent.
pub(crate) fn set_record(
    io: &dyn TierIo,
    file: &dyn FileIo,
    id: &ObjectId,
    path: &str,
    in_sidecar: bool,
    block: u32,
    crc: Option<u32>,
) -> io::Result<()> {
    let record = crc.map_or([0; meta::RECORD], |crc| meta::encode_record(id, block, crc));
    patch(io, file, path, in_sidecar, meta::record_at(block), &record)
}

/// Replaces the header.
pub(crate) fn set_header(
    io: &dyn TierIo,
    file: &dyn FileIo,
    id: &ObjectId,
    path: &str,
    in_sidecar: bool,
    header: Header,
) -> io::Result<()> {
    patch(io, file, path, in_sidecar, 0, &meta::encode_header(id, header))
}

/// The checksum of a block as the meta data has it.
pub(crate) fn crc(
    io: &dyn TierIo,
    file: &dyn FileIo,
    id: &ObjectId,
    path: &str,
    in_sidecar: bool,
    block: u32,
) -> io::Result<Option<u32>> {
    if in_sidecar {
        let mut record = [0; meta::RECORD];
        let sidecar = io.open(&sidecar(path), Mode::Existing)?;
        let n = sidecar.read_at(meta::record_at(block) as u64, &mut record)?;
        return Ok(meta::decode_record(id, block, &record[..n]));
    }
    Ok(file.attribute()?.and_then(|raw| meta::record(id, &raw, block)))
}
