use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// Permission bits as an octal text: `0644` or `644`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMode {
    bits: u16,
    written: Box<str>,
}

impl FileMode {
    /// The mode with the permission bits `bits`; other bits are left out.
    pub fn from_bits(bits: u16) -> Self {
        let bits = bits & 0o777;
        Self { bits, written: format!("0{bits:03o}").into() }
    }

    /// The nine permission bits.
    pub const fn bits(&self) -> u16 {
        self.bits
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl Text for FileMode {
    const PATTERN: &'static str = "^0?[0-7]{3}$";
    const LENGTH: (u64, u64) = (3, 4);
    const DESCRIPTION: &'static str = "Permission bits in octal, in quotes, such as \"0644\".";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let digits = match text.len() {
            4 => text.strip_prefix('0'),
            _ => Some(text),
        };
        let bits = digits.filter(|d| d.len() == 3 && d.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        match bits.and_then(|d| u16::from_str_radix(d, 8).ok()) {
            Some(bits) => Ok(Self { bits, written: text.into() }),
            None => Err(ValueError::new(
                format!("{} is not a file mode", quoted(text)),
                "write the nine permission bits in octal and in quotes, such as \"0644\" (setuid, setgid and sticky bits are not served)",
            )),
        }
    }
}

text_type!(FileMode);
