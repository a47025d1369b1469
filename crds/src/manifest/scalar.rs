use serde_json::Number;

/// What a scalar without quotes stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Number(Number),
    Text,
    /// Read differently by YAML 1.1 (kubectl) and YAML 1.2: what the former makes of it.
    Ambiguous(&'static str),
}

/// The meaning of `text` by the core schema of YAML 1.2, where YAML 1.1 agrees.
pub(super) fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        _ => {}
    }
    // Longer texts are neither numbers that fit nor truth values.
    if text.len() > 64 {
        return Meaning::Text;
    }
    if matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off") {
        return Meaning::Ambiguous("a truth value");
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Meaning::Text;
    }
    number(text, unsigned)
}

fn number(text: &str, unsigned: &str) -> Meaning {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Meaning::Ambiguous("an octal number");
        }
        let plain = text.strip_prefix('+').unwrap_or(text);
        return match (plain.parse::<i64>(), plain.parse::<u64>()) {
            (Ok(value), _) => Meaning::Number(value.into()),
            (_, Ok(value)) => Meaning::Number(value.into()),
            // Beyond 64 bits: the field's own type says that it is too large.
            _ => Meaning::Text,
        };
    }
    let radix = |prefix: &str, valid: fn(u8) -> bool| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| valid(b) || b == b'_'))
    };
    if radix("0x", |b| b.is_ascii_hexdigit()) || radix("0o", |b| b.is_ascii_digit()) || radix("0b", |b| matches!(b, b'0' | b'1'))
    {
        return Meaning::Ambiguous("a number");
    }
    if unsigned.contains('_') && unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b'.') {
        return Meaning::Ambiguous("a number");
    }
    if is_float(unsigned)
        && let Some(value) = text.parse::<f64>().ok().and_then(Number::from_f64)
    {
        return Meaning::Number(value);
    }
    Meaning::Text
}

/// `digits[.digits][e[sign]digits]` with a digit before or after the point.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_makes_of_them() {
        for (text, wanted) in [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("true", Meaning::Bool(true)),
            ("FALSE", Meaning::Bool(false)),
            ("yes", Meaning::Ambiguous("a truth value")),
            ("Off", Meaning::Ambiguous("a truth value")),
            ("0", Meaning::Number(0.into())),
            ("-7", Meaning::Number((-7).into())),
            ("+7", Meaning::Number(7.into())),
            ("18446744073709551615", Meaning::Number(u64::MAX.into())),
            ("18446744073709551616", Meaning::Text),
            ("0644", Meaning::Ambiguous("an octal number")),
            ("0x1f", Meaning::Ambiguous("a number")),
            ("0o17", Meaning::Ambiguous("a number")),
            ("1_000", Meaning::Ambiguous("a number")),
            ("64Gi", Meaning::Text),
            ("10m", Meaning::Text),
            ("1.2.3", Meaning::Text),
            (".", Meaning::Text),
            ("...", Meaning::Text),
            ("1e", Meaning::Text),
            ("10%", Meaning::Text),
            ("-", Meaning::Text),
        ] {
            assert_eq!(meaning(text), wanted, "{text}");
        }
        for (text, wanted) in [("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-2.5E-1", -0.25)] {
            assert_eq!(meaning(text), Meaning::Number(Number::from_f64(wanted).into_iter().next().unwrap_or(0.into())), "{text}");
        }
    }
}
