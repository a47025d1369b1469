//! Links of an HTML page: just enough of HTML for the pages that servers generate of a directory. Pure.

/// The targets of all `<a href=...>` of a page, entities decoded, in order.
pub(super) fn hrefs(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let is_anchor = rest.starts_with(['a', 'A']) && rest[1..].starts_with(|c: char| c.is_ascii_whitespace());
        if !is_anchor {
            continue;
        }
        let (href, after) = attributes(&rest[1..]);
        found.extend(href);
        rest = after;
    }
    found
}

/// The `href` among a tag's attributes, and what follows the tag.
fn attributes(tag: &str) -> (Option<String>, &str) {
    let mut href = None;
    let mut rest = tag;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return (href, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (href, after);
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(rest.len());
        // A stray `=` counts as a name, or nothing would be consumed.
        let end = if end == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { end };
        let (name, after) = rest.split_at(end);
        rest = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(after) = rest.strip_prefix('=') else { continue };
        let after = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let (value, after) = value(after);
        rest = after;
        if name.eq_ignore_ascii_case("href") && href.is_none() {
            href = Some(decoded(value.trim()));
        }
    }
}

/// An attribute's value, quoted or not, and what follows.
fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len());
    text.split_at(end)
}

/// Decodes character references: the five that matter in a URL, and numbers.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        match reference(rest) {
            Some((character, length)) => {
                out.push(character);
                rest = &rest[length..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A reference at the start of `text`: its character and its length.
fn reference(text: &str) -> Option<(char, usize)> {
    let end = text.char_indices().take(12).find(|(_, c)| *c == ';').map(|(index, _)| index)?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests;
