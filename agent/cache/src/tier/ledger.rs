//! How much a tier's files may occupy, written ahead: 24 bytes that outlive a crash.
//!
//! ```text
//! magic "FBL1" | bound u64 | token u64 | crc u32
//! ```
//! The bound is never less than what is charged: it is raised before it would be passed, in steps. So after a kill the tier knows at
//! once how much it might hold, and need not wait for a scan before it can promise not to exceed its capacity.

use std::io;

use crate::io::{Mode, TierIo};

const PATH: &str = "ledger";
const MAGIC: [u8; 4] = *b"FBL1";
/// By how much the bound is raised ahead: after a kill, that much may be taken for occupied until a scan.
pub(crate) fn step(capacity: u64) -> u64 {
    (capacity / 16).min(64 << 20)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Bytes charged at most.
    pub(crate) bound: u64,
    /// Set by a close, zero otherwise; the index has the same when it was closed with the tier.
    pub(crate) token: u64,
}

impl Ledger {
    /// `None` when there is none or it is damaged.
    pub(crate) fn read(io: &dyn TierIo) -> io::Result<Option<Self>> {
        let file = match io.open(PATH, Mode::Existing) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut raw = [0; 24];
        let n = file.read_at(0, &mut raw)?;
        Ok(Self::decode(&raw[..n]))
    }

    pub(crate) fn write(self, io: &dyn TierIo) -> io::Result<()> {
        io.open(PATH, Mode::Create)?.write_at(0, &self.encode())
    }

    fn encode(self) -> [u8; 24] {
        let mut raw = [0; 24];
        raw[..4].copy_from_slice(&MAGIC);
        raw[4..12].copy_from_slice(&self.bound.to_le_bytes());
        raw[12..20].copy_from_slice(&self.token.to_le_bytes());
        let crc = crc32c::crc32c(&raw[..20]);
        raw[20..].copy_from_slice(&crc.to_le_bytes());
        raw
    }

    fn decode(raw: &[u8]) -> Option<Self> {
        let raw: &[u8; 24] = raw.try_into().ok()?;
        if raw[..4] != MAGIC || crc32c::crc32c(&raw[..20]).to_le_bytes() != raw[20..] {
            return None;
        }
        Some(Self {
            bound: u64::from_le_bytes(raw[4..12].try_into().ok()?),
            token: u64::from_le_bytes(raw[12..20].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::io::MemoryIo;

    #[test]
    fn round_trips_and_damage_is_seen() {
        let io = MemoryIo::new(1 << 20, true);
        assert_eq!(Ledger::read(&io).unwrap(), None);
        let ledger = Ledger { bound: 1 << 40, token: 7 };
        ledger.write(&io).unwrap();
        assert_eq!(Ledger::read(&io).unwrap(), Some(ledger));
        let raw = ledger.encode();
        for at in 0..raw.len() {
            let mut torn = raw;
            torn[at] ^= 1;
            assert_eq!(Ledger::decode(&torn), None);
            assert_eq!(Ledger::decode(&raw[..at]), None);
        }
    }
}
