//! What kernel and first server agreed on, in the form in which the kernel says it: FUSE_INIT, of which a mount has one.

use std::io;

/// `FUSE_INIT` of `enum fuse_opcode`.
const INIT: u32 = 26;
/// The protocol's major version; there is no other since 2005.
const MAJOR: u32 = 7;
/// Length of `struct fuse_in_header` and of `struct fuse_init_in`.
const REQUEST: usize = 40 + 64;
/// Flag saying that `flags2` holds the upper half.
const INIT_EXT: u64 = 1 << 30;

/// What the first server of a mount agreed on with the kernel, which holds as long as the mount. The kernel says it once, so
/// whoever keeps the descriptor must keep this beside it: a later server cannot ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Negotiated {
    /// The kernel's minor version of protocol 7.
    pub minor: u32,
    /// The capabilities that both have, `FUSE_INIT_FLAGS` of `<linux/fuse.h>`, upper half included.
    pub flags: u64,
    /// Read-ahead in bytes as agreed; the mount's own setting may be larger.
    pub max_readahead: u32,
}

impl Negotiated {
    /// What `reply` settles of what the kernel offered in `request`: both as they pass through the descriptor.
    pub(crate) fn between(request: &[u8], reply: &[u8]) -> io::Result<Self> {
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if word(reply, 4) != Some(0) {
            return Err(bad("the server refused the kernel's FUSE_INIT"));
        }
        let minor = word(request, 44).ok_or_else(|| bad("the kernel's FUSE_INIT is too short"))?;
        let (Some(readahead), Some(low)) = (word(reply, 24), word(reply, 28)) else {
            return Err(bad("the answer to FUSE_INIT is too short"));
        };
        let mut flags = u64::from(low);
        if flags & INIT_EXT != 0 {
            flags |= u64::from(word(reply, 48).unwrap_or(0)) << 32;
        }
        Ok(Self { minor, flags, max_readahead: readahead })
    }

    /// A request as the kernel would send it if it offered just what was agreed.
    pub(crate) fn request(self) -> Vec<u8> {
        let mut request = vec![0; REQUEST];
        let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of one number")]
        let (low, high) = ((self.flags | INIT_EXT) as u32, (self.flags >> 32) as u32);
        put(0, &(REQUEST as u32).to_ne_bytes());
        put(4, &INIT.to_ne_bytes());
        put(8, &1u64.to_ne_bytes());
        put(40, &MAJOR.to_ne_bytes());
        put(44, &self.minor.to_ne_bytes());
        put(48, &self.max_readahead.to_ne_bytes());
        put(52, &low.to_ne_bytes());
        put(56, &high.to_ne_bytes());
        request
    }
}

/// Refuses what is not the kernel's first message, or of a protocol that nobody here speaks.
pub(crate) fn check_request(request: &[u8]) -> io::Result<()> {
    match (word(request, 4), word(request, 40)) {
        (Some(INIT), Some(MAJOR)) => Ok(()),
        (Some(INIT), Some(other)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the kernel speaks version {other} of the FUSE protocol, this program {MAJOR}"),
        )),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the descriptor has a server already, and what was negotiated with it is not known: mount anew",
        )),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    #[test]
    fn what_was_agreed_is_offered_again() {
        let agreed = Negotiated { minor: 45, flags: 1 << 39 | INIT_EXT | 0b101, max_readahead: 131_072 };
        let request = agreed.request();
        check_request(&request).unwrap();
        // A server that takes all: header, then versions, read-ahead, flags; flags2 behind 16 bytes more.
        let mut reply = vec![0; 16];
        for part in [MAJOR, 41, agreed.max_readahead, word(&request, 52).unwrap(), 0, 0, 0, 0, word(&request, 56).unwrap()] {
            reply.extend_from_slice(&part.to_ne_bytes());
        }
        assert_eq!(Negotiated::between(&request, &reply).unwrap(), agreed);
    }

    #[test]
    fn other_messages_are_refused() {
        let mut request = Negotiated { minor: 45, flags: 0, max_readahead: 0 }.request();
        request[40..44].copy_from_slice(&8u32.to_ne_bytes());
        assert_eq!(check_request(&request).unwrap_err().kind(), io::ErrorKind::Unsupported);
        request[4..8].copy_from_slice(&3u32.to_ne_bytes());
        assert_eq!(check_request(&request).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(check_request(&[]).is_err());
        let mut refused = vec![0; 80];
        refused[4..8].copy_from_slice(&(-5i32).to_ne_bytes());
        assert!(Negotiated::between(&request, &refused).is_err());
        assert!(Negotiated::between(&request, &[0; 20]).is_err());
    }
}
