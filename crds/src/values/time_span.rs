use std::time::Duration;

use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// A length of time such as `10m`, `1h30m`, `30d` or `500ms`: whole numbers with units, largest first, each unit once.
///
/// Compared by length: `60s` equals `1m`.
#[derive(Debug, Clone)]
pub struct TimeSpan {
    millis: u64,
    written: Box<str>,
}

/// Unit, its milliseconds and the most digits before it; in the order in which they are written.
const UNITS: &[(&str, u64, usize)] =
    &[("d", 86_400_000, 5), ("h", 3_600_000, 6), ("m", 60_000, 7), ("s", 1_000, 9), ("ms", 1, 9)];

const REMEDY: &str = "write whole numbers with the units d, h, m, s, ms, largest first, such as 10m, 1h30m or 500ms";

impl TimeSpan {
    /// A span of whole seconds, written with `s`.
    pub fn from_secs(seconds: u32) -> Self {
        Self { millis: u64::from(seconds) * 1000, written: format!("{seconds}s").into() }
    }

    /// A span of whole minutes, written with `m`.
    pub fn from_mins(minutes: u16) -> Self {
        Self { millis: u64::from(minutes) * 60_000, written: format!("{minutes}m").into() }
    }

    /// The length of time.
    pub const fn duration(&self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// Whether the span is no time at all.
    pub const fn is_zero(&self) -> bool {
        self.millis == 0
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl PartialEq for TimeSpan {
    fn eq(&self, other: &Self) -> bool {
        self.millis == other.millis
    }
}

impl Eq for TimeSpan {}

impl PartialOrd for TimeSpan {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TimeSpan {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.millis.cmp(&other.millis)
    }
}

impl Text for TimeSpan {
    const PATTERN: &'static str = r"^([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$";
    // The pattern alone would accept the empty text.
    const LENGTH: (u64, u64) = (2, 48);
    const DESCRIPTION: &'static str = "A length of time such as 10m, 1h30m, 30d or 500ms: units d, h, m, s, ms, largest first.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |problem: &str| ValueError::new(format!("{} is not a length of time: {problem}", quoted(text)), REMEDY);
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        let mut units = UNITS.iter();
        let mut rest = text;
        let mut millis = 0u64;
        while !rest.is_empty() {
            let digits_end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| wrong("the unit is missing"))?;
            let (digits, after) = rest.split_at(digits_end);
            if digits.is_empty() {
                return Err(wrong(if rest.starts_with('-') { "it is negative" } else { "a whole number is missing" }));
            }
            if after.starts_with('.') {
                return Err(wrong("a fraction is not read"));
            }
            let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            if !UNITS.iter().any(|(known, ..)| *known == unit) {
                return Err(wrong(&format!("the unit {} is not known", quoted(unit))));
            }
            // The iterator goes on from the last unit read, so that a smaller one cannot stand before a larger.
            let Some((_, scale, most)) = units.find(|(known, ..)| *known == unit) else {
                return Err(wrong(&format!("{unit} stands after a unit that is not larger")));
            };
            if digits.len() > *most {
                return Err(wrong(&format!("it has more than {most} digits before {unit}")));
            }
            let count: u64 = digits.parse().map_err(|_| wrong("it is too long"))?;
            millis += count * scale;
            rest = after;
        }
        Ok(Self { millis, written: text.into() })
    }
}

text_type!(TimeSpan);
