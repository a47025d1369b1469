//! Keys as paths, and page tokens: pure.

use crate::PageToken;

/// Whether a key names a path below the root, and only in one spelling.
pub(super) fn is_key(key: &str) -> bool {
    !key.contains('\0') && key.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The directory that a listing's prefix names, without the trailing slash; `None` if none can have that name.
pub(super) fn directory(prefix: &str) -> Option<&str> {
    if prefix.is_empty() {
        return Some("");
    }
    prefix.strip_suffix('/').filter(|path| is_key(path))
}

/// Joins a directory (empty for the root) and a name.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// One directory on the way down: its name in the one before (empty for the first), and the position behind the last
/// entry dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) cookie: u64,
}

/// Writes places as a token. Names hold no NUL, so it separates.
pub(super) fn token(places: &[Place]) -> PageToken {
    let parts: Vec<String> = places.iter().map(|place| format!("{}\0{}", place.name, place.cookie)).collect();
    PageToken(parts.join("\0"))
}

/// Reads [`token`]; `None` for anything else.
pub(super) fn places(token: &PageToken) -> Option<Vec<Place>> {
    let parts: Vec<&str> = token.0.split('\0').collect();
    let mut places = Vec::with_capacity(parts.len() / 2);
    for (index, pair) in parts.chunks(2).enumerate() {
        let [name, cookie] = pair else { return None };
        let valid = if index == 0 { name.is_empty() } else { is_key(name) && !name.contains('/') };
        if !valid {
            return None;
        }
        places.push(Place { name: (*name).to_owned(), cookie: cookie.parse().ok()? });
    }
    Some(places)
}
