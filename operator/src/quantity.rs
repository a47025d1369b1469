//! Kubernetes' quantities, such as `16393244Ki`, `250m` or `1e9`.

/// Thousandths of the unit, rounded up; `None`: it is not a quantity, or beyond what is counted.
pub(crate) fn milli(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 20 || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // In thousandths: numerator and denominator.
    let (times, by) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "" => (1_000, 1),
        "k" => (1_000_000, 1),
        "M" => (10u128.pow(9), 1),
        "G" => (10u128.pow(12), 1),
        "T" => (10u128.pow(15), 1),
        "P" => (10u128.pow(18), 1),
        "E" => (10u128.pow(21), 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if exponent > 18 {
                return None;
            }
            (1_000 * 10u128.pow(exponent), 1)
        }
    };
    let decimals = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let value = digits(whole)?.checked_mul(decimals)?.checked_add(digits(fraction)?)?.checked_mul(times)?;
    Some(value.div_ceil(decimals * by))
}

/// Whole units, such as bytes, rounded down.
pub(crate) fn units(text: &str) -> Option<u64> {
    u64::try_from(milli(text)? / 1_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_writes_is_read() {
        let table = [
            ("0", Some(0)),
            ("16393244Ki", Some(16_393_244 << 10)),
            ("1.5Gi", Some(3 << 29)),
            ("128974848", Some(128_974_848)),
            ("129e6", Some(129_000_000)),
            ("129M", Some(129_000_000)),
            ("1500m", Some(1)),
            ("8Ei", Some(8 << 60)),
            ("", None),
            ("Gi", None),
            ("1.2.3", None),
            ("1Xi", None),
            ("-1", None),
            ("1e30", None),
            ("99999999999999999999Ei", None),
        ];
        for (text, bytes) in table {
            assert_eq!(units(text), bytes, "{text}");
        }
        assert_eq!(milli("250m"), Some(250));
        assert_eq!(milli("1"), milli("1000m"));
    }
}
