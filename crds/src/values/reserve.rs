use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::size::{IntOrText, int_or_string};
use super::text::Text;
use super::{ByteSize, ValueError, quoted};

/// Space that a tier leaves free on its file system: a size, or a share of the file system such as `10%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserve {
    /// So many bytes.
    Size(ByteSize),
    /// A share of the file system's size, in hundredths of a percent (0 to 9999), and as it was written.
    Share {
        /// `10%` is 1000.
        basis_points: u32,
        /// The text of the manifest.
        written: Box<str>,
    },
}

impl Reserve {
    /// The bytes to leave free on a file system of `total` bytes. A share is rounded up.
    pub fn bytes_of(&self, total: u64) -> u64 {
        match self {
            Self::Size(size) => size.bytes(),
            Self::Share { basis_points, .. } => {
                let share = (u128::from(total) * u128::from(*basis_points)).div_ceil(10_000);
                // A share below one of a u64 is a u64.
                u64::try_from(share).unwrap_or(total)
            }
        }
    }
}

impl Text for Reserve {
    const PATTERN: &'static str = r"^([0-9]{1,18}(\.[0-9]{1,9})?|[0-9]{1,15}(\.[0-9]{1,9})?(k|Ki)|[0-9]{1,12}(\.[0-9]{1,9})?(M|Mi)|[0-9]{1,9}(\.[0-9]{1,9})?(G|Gi)|[0-9]{1,6}(\.[0-9]{1,9})?(T|Ti)|[0-9]{1,3}(\.[0-9]{1,9})?(P|Pi)|[0-8](\.[0-9]{1,9})?E|[0-7](\.[0-9]{1,9})?Ei|[0-9]{1,2}(\.[0-9]{1,2})?%)$";
    const LENGTH: (u64, u64) = (1, 32);
    const DESCRIPTION: &'static str = "A number of bytes, a quantity such as 20Gi, or a share of the file system such as 10%.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let Some(number) = text.strip_suffix('%') else {
            return ByteSize::parse(text).map(Self::Size);
        };
        let wrong = || {
            ValueError::new(
                format!("{} is not a share of a file system", quoted(text)),
                "write a percentage from 0% to 99.99%, with at most two decimals, such as 10%",
            )
        };
        let (whole, fraction) = match number.split_once('.') {
            None => (number, ""),
            Some((_, "")) => return Err(wrong()),
            Some(parts) => parts,
        };
        let digits = |text: &str| text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let hundredths = format!("{fraction:0<2}");
        let (Ok(whole), Ok(hundredths)) = (whole.parse::<u32>(), hundredths.parse::<u32>()) else {
            return Err(wrong());
        };
        Ok(Self::Share { basis_points: whole * 100 + hundredths, written: text.into() })
    }
}

impl std::str::FromStr for Reserve {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Share { written, .. } => f.write_str(written),
        }
    }
}

impl Serialize for Reserve {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Size(size) => size.serialize(serializer),
            Self::Share { written, .. } => serializer.serialize_str(written),
        }
    }
}

impl<'de> Deserialize<'de> for Reserve {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrText(|bytes| Self::Size(ByteSize::from_bytes(bytes))))
    }
}

impl schemars::JsonSchema for Reserve {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Reserve".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        int_or_string::<Self>()
    }
}
