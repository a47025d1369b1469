use md5::{Digest, Md5};

use crate::Checksum;

/// Compares a whole object's bytes, as they pass, with what the store promised.
pub(super) enum Verifier {
    /// Nothing is promised, or not of this range.
    Nothing,
    Md5 {
        running: Md5,
        want: [u8; 16],
    },
    Crc32c {
        running: u32,
        want: u32,
    },
}

impl Verifier {
    pub(super) fn new(checksum: Option<Checksum>) -> Self {
        match checksum {
            None => Self::Nothing,
            Some(Checksum::Md5(want)) => Self::Md5 { running: Md5::new(), want },
            Some(Checksum::Crc32c(want)) => Self::Crc32c { running: 0, want },
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Md5 { running, .. } => running.update(bytes),
            Self::Crc32c { running, .. } => *running = crc32c::crc32c_append(*running, bytes),
        }
    }

    /// Whether the bytes are the promised ones; asked once, at the end.
    pub(super) fn holds(&mut self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Md5 { running, want } => running.finalize_reset()[..] == want[..],
            Self::Crc32c { running, want } => running == want,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums_of_any_pieces() {
        let md5 = [0x9e, 0x10, 0x7d, 0x9d, 0x37, 0x2b, 0xb6, 0x82, 0x6b, 0xd8, 0x1d, 0x35, 0x42, 0xa4, 0x19, 0xd6];
        let text = b"The quick brown fox jumps over the lazy dog";
        for checksum in [Checksum::Md5(md5), Checksum::Crc32c(0x2262_0404)] {
            for piece in [1, 7, text.len()] {
                let (mut right, mut wrong) = (Verifier::new(Some(checksum)), Verifier::new(Some(checksum)));
                for bytes in text.chunks(piece) {
                    right.update(bytes);
                    wrong.update(&bytes.to_ascii_uppercase());
                }
                assert!(right.holds() && !wrong.holds(), "{checksum:?} by {piece}");
            }
        }
        assert!(Verifier::new(None).holds());
    }
}
