//! kubelet names the socket's path as the authority of its calls. A path is none, and the HTTP/2 library refuses such a call
//! before any service sees it; so what kubelet sends passes through here, where the authority becomes `localhost`.
//!
//! Only HPACK's framing is understood, not its tables: kubelet's two calls on a connection send the authority as a literal, and
//! then by the index that both sides have given it.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, copy, duplex, split};
use tokio::net::UnixStream;

/// The connection's first bytes.
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Longest frame that is passed on: kubelet's are a hundred bytes.
const LONGEST: usize = 1 << 20;
/// The authority's index in HPACK's static table.
const AUTHORITY: usize = 1;
const LOCALHOST: &[u8] = b"\x09localhost";

/// Gives the connection as the server is to see it. Ends when either side does.
pub(crate) fn corrected(kubelet: UnixStream) -> DuplexStream {
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let (mut from_kubelet, mut to_kubelet) = split(kubelet);
        let (mut from_server, mut to_server) = split(ours);
        // A broken connection is nobody's fault here: kubelet calls again.
        let _ = tokio::join!(
            async {
                let _ = pass(&mut from_kubelet, &mut to_server).await;
                let _ = to_server.shutdown().await;
            },
            async {
                let _ = copy(&mut from_server, &mut to_kubelet).await;
                let _ = to_kubelet.shutdown().await;
            },
        );
    });
    theirs
}

async fn pass(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut preface = [0; PREFACE];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    loop {
        let mut header = [0; FRAME_HEADER];
        from.read_exact(&mut header).await?;
        let [a, b, c, kind, flags, ..] = header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if length > LONGEST {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        if kind == HEADERS
            && let Some(changed) = headers(&payload, flags)
        {
            payload = changed;
            let length = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
            header[..3].copy_from_slice(&length.to_be_bytes()[1..]);
        }
        to.write_all(&header).await?;
        to.write_all(&payload).await?;
        to.flush().await?;
    }
}

/// The payload of a HEADERS frame with another authority; `None` where there is none to change or it is not understood.
fn headers(payload: &[u8], flags: u8) -> Option<Vec<u8>> {
    let padding = if flags & PADDED != 0 { usize::from(*payload.first()?) } else { 0 };
    let start = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    let (at, length) = authority(payload.get(start..end)?)?;
    let (before, after) = (payload.get(..start + at)?, payload.get(start + at + length..)?);
    Some([before, LOCALHOST, after].concat())
}

/// Where in a header block the authority's value stands, its length included.
fn authority(block: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while at < block.len() {
        let first = block[at];
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (index, used) = integer(&block[at..], bits)?;
        at += used;
        // An indexed field, or a new size of the table: no strings follow.
        if bits == 7 || bits == 5 {
            continue;
        }
        if index == 0 {
            at += string(block.get(at..)?)?;
        }
        let value = string(block.get(at..)?)?;
        if index == AUTHORITY {
            return Some((at, value));
        }
        at += value;
    }
    None
}

/// How many bytes a string takes, its length included.
fn string(bytes: &[u8]) -> Option<usize> {
    let (length, used) = integer(bytes, 7)?;
    let all = used.checked_add(length)?;
    (all <= bytes.len()).then_some(all)
}

/// An integer in the low `bits` of the first byte, and on; and how many bytes it takes.
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, usize)> {
    let most = (1usize << bits) - 1;
    let mut value = usize::from(*bytes.first()?) & most;
    if value < most {
        return Some((value, 1));
    }
    for (n, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value = value.checked_add(usize::from(byte & 0x7f) << (7 * (n - 1)))?;
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    /// `:method: POST`, `:scheme: http`, `:path` and then the fields given.
    fn block(fields: &[&[u8]]) -> Vec<u8> {
        [&[b"\x83\x86\x44\x02/x".as_slice()], fields].concat().concat()
    }

    #[test]
    fn a_path_becomes_localhost_and_all_else_stays() {
        let path = "/".repeat(200);
        let long = [b"\x41\x7f\x49".as_slice(), path.as_bytes()].concat();
        for authority in [b"\x41\x05/a/b/".as_slice(), b"\x01\x05/a/b/", b"\x11\x85\x01\x02\x03\x04\x05", &long] {
            let name = &authority[..1];
            let sent = block(&[authority, b"\x5f\x10application/grpc", b"\x40\x02te\x08trailers"]);
            let wanted = block(&[name, LOCALHOST, b"\x5f\x10application/grpc", b"\x40\x02te\x08trailers"]);
            assert_eq!(headers(&sent, 0x4).unwrap(), wanted);
        }
    }

    #[test]
    fn padding_and_priority_are_stepped_over() {
        let sent = [b"\x02\0\0\0\0\x10".as_slice(), &block(&[b"\x41\x01/"]), b"\0\0"].concat();
        let wanted = [b"\x02\0\0\0\0\x10".as_slice(), &block(&[b"\x41\x09localhost"]), b"\0\0"].concat();
        assert_eq!(headers(&sent, PADDED | PRIORITY | 0x4).unwrap(), wanted);
    }

    #[test]
    fn what_has_no_authority_or_is_cut_off_is_left_alone() {
        for sent in [block(&[]), block(&[b"\xbe"]), block(&[b"\x41\x05/a"]), block(&[b"\x41"]), vec![0xff; 9], Vec::new()] {
            assert_eq!(headers(&sent, 0x4), None);
        }
        assert_eq!(headers(b"\xff", PADDED), None);
    }

    #[tokio::test]
    async fn frames_pass_in_order_with_their_new_length() {
        let frame = |kind: u8, payload: &[u8]| [&[0, 0, payload.len() as u8, kind, 4, 0, 0, 0, 1], payload].concat();
        let sent = [vec![7; PREFACE], frame(4, b""), frame(HEADERS, &block(&[b"\x41\x01/"])), frame(0, b"data")].concat();
        let wanted =
            [vec![7; PREFACE], frame(4, b""), frame(HEADERS, &block(&[b"\x41\x09localhost"])), frame(0, b"data")].concat();
        let mut passed = Vec::new();
        assert!(pass(&mut sent.as_slice(), &mut passed).await.is_err(), "the end of the input");
        assert_eq!(passed, wanted);
    }
}
