use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::Text;
use super::{ValueError, quoted};

/// A number of bytes as Kubernetes writes quantities: `64Gi`, `1.5T`, `500G` or a plain number.
///
/// At most 2^63-1 bytes. A fraction of a byte is rounded up. Compared by bytes: `1Ki` equals `1024`.
#[derive(Clone)]
pub struct ByteSize {
    bytes: u64,
    written: Option<Box<str>>,
}

struct Unit {
    suffix: &'static str,
    bytes: u64,
    /// Most digits before the point, and the most that they may say: what the pattern allows, so that no text
    /// which passes the schema is beyond 2^63.
    digits: usize,
    most: u128,
}

const fn unit(suffix: &'static str, bytes: u64, digits: usize) -> Unit {
    Unit { suffix, bytes, digits, most: u128::MAX }
}

const UNITS: [Unit; 13] = [
    unit("", 1, 18),
    unit("k", 1_000, 15),
    unit("M", 1_000_000, 12),
    unit("G", 1_000_000_000, 9),
    unit("T", 1_000_000_000_000, 6),
    unit("P", 1_000_000_000_000_000, 3),
    Unit { suffix: "E", bytes: 1_000_000_000_000_000_000, digits: 1, most: 8 },
    unit("Ki", 1 << 10, 15),
    unit("Mi", 1 << 20, 12),
    unit("Gi", 1 << 30, 9),
    unit("Ti", 1 << 40, 6),
    unit("Pi", 1 << 50, 3),
    Unit { suffix: "Ei", bytes: 1 << 60, digits: 1, most: 7 },
];

/// Most digits after the point. Ten and more would say nothing about bytes that a unit smaller does not.
const FRACTION_DIGITS: usize = 9;

const REMEDY: &str = "write a number of bytes or a quantity such as 64Gi (2^30) or 500G (10^9)";

impl ByteSize {
    /// `bytes` bytes, written as a plain number.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes, written: None }
    }

    /// The number of bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// `bytes` for people: three significant digits and a binary unit, such as `139Gi`, `1.50Mi` or `512B`.
pub fn human(bytes: u64) -> String {
    let units = ["B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    // The loss of precision beyond 2^53 is far below the three digits shown.
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match (unit, value) {
        (0, _) => 0,
        (_, v) if v >= 99.95 => 0,
        (_, v) if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", units[unit])
}

impl Text for ByteSize {
    const PATTERN: &'static str = r"^([0-9]{1,18}(\.[0-9]{1,9})?|[0-9]{1,15}(\.[0-9]{1,9})?(k|Ki)|[0-9]{1,12}(\.[0-9]{1,9})?(M|Mi)|[0-9]{1,9}(\.[0-9]{1,9})?(G|Gi)|[0-9]{1,6}(\.[0-9]{1,9})?(T|Ti)|[0-9]{1,3}(\.[0-9]{1,9})?(P|Pi)|[0-8](\.[0-9]{1,9})?E|[0-7](\.[0-9]{1,9})?Ei)$";
    const LENGTH: (u64, u64) = (1, 32);
    const DESCRIPTION: &'static str = "A number of bytes, or a quantity such as 64Gi (2^30) or 500G (10^9).";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |problem: String| ValueError::new(format!("{} is not a size: {problem}", quoted(text)), REMEDY);
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(digits_end);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            None => ("", rest),
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                if end == 0 || end > FRACTION_DIGITS {
                    return Err(wrong("between one and nine digits follow the point".to_owned()));
                }
                rest.split_at(end)
            }
        };
        if whole.is_empty() {
            return Err(wrong(match text.chars().next() {
                Some('-') => "it is negative".to_owned(),
                None => "it is empty".to_owned(),
                _ => "it does not begin with a digit".to_owned(),
            }));
        }
        let Some(unit) = UNITS.iter().find(|unit| unit.suffix == suffix) else {
            return Err(wrong(format!("the unit {} is not one of k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei", quoted(suffix))));
        };
        let too_large = || ValueError::new(format!("{} is too large for a size", quoted(text)), "write less than 8Ei");
        let parse = |digits: &str| digits.parse::<u128>().map_err(|_| too_large());
        let whole_value = if whole.len() > unit.digits { return Err(too_large()) } else { parse(whole)? };
        if whole_value > unit.most {
            return Err(too_large());
        }
        let decimals = 10u128.pow(fraction.len() as u32);
        let fraction_value = if fraction.is_empty() { 0 } else { parse(fraction)? };
        let bytes = ((whole_value * decimals + fraction_value) * u128::from(unit.bytes)).div_ceil(decimals);
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= i64::MAX as u64 => Ok(Self { bytes, written: Some(text.into()) }),
            _ => Err(too_large()),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Some(text) => f.write_str(text),
            None => self.bytes.fmt(f),
        }
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteSize({self})")
    }
}

impl PartialEq for ByteSize {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for ByteSize {}

impl PartialOrd for ByteSize {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByteSize {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.written {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_u64(self.bytes),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrText(Self::from_bytes))
    }
}

impl schemars::JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        int_or_string::<Self>()
    }
}

/// The schema of a type that is a number or a text, as Kubernetes' own quantities are.
pub(super) fn int_or_string<T: Text>() -> schemars::Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "description": T::DESCRIPTION,
        "pattern": T::PATTERN,
        "minLength": T::LENGTH.0,
        "maxLength": T::LENGTH.1,
        "minimum": 0,
    })
}

/// Reads a number (by the function given) or a text (by its parser).
pub(super) struct IntOrText<T>(pub(super) fn(u64) -> T);

impl<T: Text> de::Visitor<'_> for IntOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes or a quantity such as 64Gi")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        if value > i64::MAX as u64 {
            return Err(E::custom(ValueError::new(format!("{value} is too large for a size"), "write less than 8Ei")));
        }
        Ok((self.0)(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::custom(ValueError::new(format!("{value} is not a size: it is negative"), REMEDY))),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).map_err(E::custom)
    }
}
