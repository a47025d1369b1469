use crate::ObjectId;

/// What the index knows of one object in one tier.
///
/// ```text
/// version u8 | flags u8 | size u64 | dataset u64 | last access u32 (s) | presence, a bit per block | crc u32
/// ```
/// The checksum covers the object's id too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    /// Tag of the Dataset that owns it.
    pub(crate) dataset: u64,
    pub(crate) pinned: bool,
    /// Last access, seconds since the Unix epoch.
    pub(crate) accessed: u32,
    /// Bit `b % 8` of byte `b / 8` says whether block `b` is present; trailing zero bytes are left out.
    pub(crate) present: Vec<u8>,
}

fn check(id: &ObjectId, raw: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id.0), raw)
}

const VERSION: u8 = 1;
const FIXED: usize = 22;

impl Entry {
    pub(crate) fn encode(&self, id: &ObjectId) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.present.len() + 4);
        out.extend([VERSION, u8::from(self.pinned)]);
        out.extend(self.size.to_le_bytes());
        out.extend(self.dataset.to_le_bytes());
        out.extend(self.accessed.to_le_bytes());
        out.extend(&self.present);
        out.extend(check(id, &out).to_le_bytes());
        out
    }

    /// `None` for what this version did not write.
    pub(crate) fn decode(id: &ObjectId, raw: &[u8]) -> Option<Self> {
        let (raw, crc) = raw.split_last_chunk::<4>()?;
        let (fixed, present) = raw.split_at_checked(FIXED)?;
        if fixed[0] != VERSION || check(id, raw).to_le_bytes() != *crc {
            return None;
        }
        Some(Self {
            pinned: fixed[1] == 1,
            size: u64::from_le_bytes(fixed[2..10].try_into().ok()?),
            dataset: u64::from_le_bytes(fixed[10..18].try_into().ok()?),
            accessed: u32::from_le_bytes(fixed[18..22].try_into().ok()?),
            present: present.to_vec(),
        })
    }

    pub(crate) fn set(&mut self, block: u32) {
        let at = block as usize / 8;
        if at >= self.present.len() {
            self.present.resize(at + 1, 0);
        }
        self.present[at] |= 1 << (block % 8);
    }

    /// Blocks present, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.present.len() as u32 * 8).filter(|block| self.present[*block as usize / 8] & 1 << (block % 8) != 0)
    }
}
