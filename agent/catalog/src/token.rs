//! Version tokens in few bytes. Tokens are opaque text to this crate; the shapes below are merely those that are
//! frequent enough to be worth a code, and every code decodes to the very text that was encoded.

use std::borrow::Cow;

/// How a token's bytes in the heap are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TokenKind {
    /// The bytes are the text.
    Text = 0,
    /// `m` and the record's own modification time; no bytes.
    Mtime = 1,
    /// `e"` + lower-case hex + `"`: the bytes that the hex spells.
    Hex = 2,
    /// `e"` + lower-case hex + `-` + number of parts + `"`: two bytes of the number (little-endian), then as above.
    Multipart = 3,
}

impl TokenKind {
    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Mtime,
            2 => Self::Hex,
            3 => Self::Multipart,
            _ => Self::Text,
        }
    }
}

/// Appends the shortest form of `token` to `out`.
pub(crate) fn encode(token: &str, mtime_ns: i64, out: &mut Vec<u8>) -> TokenKind {
    let start = out.len();
    if let Some(digits) = token.strip_prefix('m')
        && digits.parse() == Ok(mtime_ns)
        && digits == mtime_ns.to_string()
    {
        return TokenKind::Mtime;
    }
    if let Some(tag) = token.strip_prefix("e\"").and_then(|t| t.strip_suffix('"')) {
        if push_hex(tag, out) {
            return TokenKind::Hex;
        }
        out.truncate(start);
        if let Some((hex, digits)) = tag.split_once('-')
            && let Ok(parts) = digits.parse::<u16>()
            && digits == parts.to_string()
        {
            out.extend_from_slice(&parts.to_le_bytes());
            if push_hex(hex, out) {
                return TokenKind::Multipart;
            }
            out.truncate(start);
        }
    }
    out.extend_from_slice(token.as_bytes());
    TokenKind::Text
}

/// The text that [`encode`] was given. Bytes that it cannot have written give some other text, never a panic.
pub(crate) fn decode(kind: TokenKind, bytes: &[u8], mtime_ns: i64) -> Cow<'_, str> {
    match kind {
        TokenKind::Text => String::from_utf8_lossy(bytes),
        TokenKind::Mtime => Cow::Owned(format!("m{mtime_ns}")),
        TokenKind::Hex => {
            let mut text = String::with_capacity(bytes.len() * 2 + 3);
            text.push_str("e\"");
            push_digits(bytes, &mut text);
            text.push('"');
            Cow::Owned(text)
        }
        TokenKind::Multipart => {
            let (parts, hex) = bytes.split_first_chunk::<2>().map_or((0, bytes), |(p, h)| (u16::from_le_bytes(*p), h));
            let mut text = String::with_capacity(hex.len() * 2 + 9);
            text.push_str("e\"");
            push_digits(hex, &mut text);
            text.push_str(&format!("-{parts}\""));
            Cow::Owned(text)
        }
    }
}

fn push_hex(hex: &str, out: &mut Vec<u8>) -> bool {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return false;
    }
    for &[high, low] in pairs {
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
        out.push(high << 4 | low);
    }
    true
}

fn push_digits(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(token: &str, mtime: i64) -> (TokenKind, usize) {
        let mut out = b"before".to_vec();
        let kind = encode(token, mtime, &mut out);
        assert_eq!(decode(kind, &out[6..], mtime), token);
        assert_eq!(TokenKind::from_bits(kind as u8), kind);
        (kind, out.len() - 6)
    }

    #[test]
    fn frequent_tokens_are_short() {
        let cases = [
            ("e\"9e107d9d372bb6826bd81d3542a419d6\"", 0, TokenKind::Hex, 16),
            ("e\"9e107d9d372bb6826bd81d3542a419d6-17\"", 0, TokenKind::Multipart, 18),
            ("m1700000000123456789", 1_700_000_000_123_456_789, TokenKind::Mtime, 0),
            ("m-5", -5, TokenKind::Mtime, 0),
            ("m1", 2, TokenKind::Text, 2),
            ("m01", 1, TokenKind::Text, 3),
            ("m+1", 1, TokenKind::Text, 3),
            ("e\"9E\"", 0, TokenKind::Text, 5),
            ("e\"9e1\"", 0, TokenKind::Text, 6),
            ("e\"9e-01\"", 0, TokenKind::Text, 8),
            ("e\"9e-99999\"", 0, TokenKind::Text, 11),
            ("e\"-1\"", 0, TokenKind::Text, 5),
            ("eW/\"9e\"", 0, TokenKind::Text, 7),
            ("", 0, TokenKind::Text, 0),
        ];
        for (token, mtime, kind, len) in cases {
            assert_eq!(round_trip(token, mtime), (kind, len), "{token}");
        }
    }

    proptest! {
        #[test]
        fn every_token_comes_back(token in "(m-?[0-9]{1,19}|e\"[0-9a-f]{0,6}(-[0-9]{0,6})?\"|.{0,12})", mtime in any::<i64>()) {
            round_trip(&token, mtime);
            round_trip(&format!("m{mtime}"), mtime);
        }
    }
}
