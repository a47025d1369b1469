use std::fmt;

/// Size of a block, the unit in which objects are fetched, cached, verified and evicted.
pub const BLOCK: u64 = 1 << 20;

/// Names one version of one object for ever: blake3 over its store, key, version token and size.
///
/// Changed content has another version and so another id; a cached block is therefore never overwritten by
/// other bytes, and two Datasets that mount the same store share what is cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 32]);

impl ObjectId {
    /// Derives the id. Each part is prefixed by its length, so that no two different lists of parts run together
    /// to the same bytes.
    pub fn derive(store: &str, key: &str, version: &[u8], size: u64) -> Self {
        let mut hash = blake3::Hasher::new();
        for part in [store.as_bytes(), key.as_bytes(), version, &size.to_le_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(*hash.finalize().as_bytes())
    }

    /// The 64 hexadecimal digits; a cached file is `<first 2>/<other 62>`.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads what [`ObjectId::hex`] wrote; `None` for anything else, upper case included.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut id = [0u8; 32];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(id))
    }

    /// Eight of its bytes as a number: an id is a hash already, so this is as good as hashing it.
    pub(crate) fn short(&self) -> u64 {
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({}..)", &self.hex()[..12])
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Number of blocks of an object of `size` bytes; none when it is empty.
pub fn block_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(BLOCK)).unwrap_or(u32::MAX)
}

/// Bytes in block `block` of an object of `size` bytes: [`BLOCK`], less in the last one, 0 beyond it.
pub fn block_len(size: u64, block: u32) -> u64 {
    size.saturating_sub(u64::from(block) * BLOCK).min(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let a = ObjectId::derive("s3://b", "ka", b"v", 1);
        let b = ObjectId::derive("s3://bk", "a", b"v", 1);
        assert_ne!(a, b);
        assert_ne!(a, ObjectId::derive("s3://b", "ka", b"v", 2));
        assert_ne!(a, ObjectId::derive("s3://b", "ka", b"w", 1));
    }

    #[test]
    fn hex_round_trips_and_rejects_all_else() {
        let id = ObjectId::derive("s", "k", b"", 0);
        assert_eq!(ObjectId::from_hex(&id.hex()), Some(id));
        for bad in ["", "00", &"g".repeat(64), &id.hex().to_uppercase(), &id.hex()[..63]] {
            assert_eq!(ObjectId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn block_arithmetic() {
        for (size, count, last) in [(0, 0, 0), (1, 1, 1), (BLOCK, 1, BLOCK), (BLOCK + 1, 2, 1), (3 * BLOCK, 3, BLOCK)] {
            assert_eq!(block_count(size), count, "{size}");
            assert_eq!(block_len(size, count.saturating_sub(1)), last, "{size}");
            assert_eq!(block_len(size, count), 0, "{size}");
        }
    }
}
