/// The one of `names` that `word` was probably meant to be: equal but for case and separators, or a few letters off.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is no slip of the finger, and the distance costs the product of both lengths.
    if word.chars().count() > 40 {
        return None;
    }
    let plain = |text: &str| text.chars().filter(|c| !"-_ ".contains(*c)).flat_map(char::to_lowercase).collect::<String>();
    let word = plain(word);
    names
        .map(|name| (distance(&word, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = (0..=a.len()).map(|i| (i..=i + b.len()).collect()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_field_that_was_meant() {
        let names = ["runtime", "mounts", "access", "maxAge", "secretRef", "ttl"];
        for (word, meant) in [
            ("runtme", Some("runtime")),
            ("mount", Some("mounts")),
            ("max_age", Some("maxAge")),
            ("MAXAGE", Some("maxAge")),
            ("secretref", Some("secretRef")),
            ("acess", Some("access")),
            ("maxgAe", Some("maxAge")),
            ("tl", Some("ttl")),
            ("replicas", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), meant, "{word}");
        }
        assert_eq!(nearest(&"m".repeat(1_000_000), names.into_iter()), None);
    }
}
