use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// The base URL of a service: `http` or `https`, host, optional port and path; no user, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Box<str>);

const REMEDY: &str = "write http:// or https://, a host, and optionally a port and a path, such as https://obs.example:443";

impl Endpoint {
    /// The URL as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Endpoint {
    const PATTERN: &'static str = r"^https?://([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/([^./?#\x00-\x20\x7f][^/?#\x00-\x20\x7f]*|\.[^./?#\x00-\x20\x7f][^/?#\x00-\x20\x7f]*|\.\.[^/?#\x00-\x20\x7f]+))*/?$";
    const LENGTH: (u64, u64) = (8, 1024);
    const DESCRIPTION: &'static str = "The URL of a service, without user, query and fragment, such as https://obs.example.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(Fault::Credentials) => Err(credentials("the endpoint")),
            Some(Fault::Other(fault)) => Err(ValueError::new(format!("{} is not an endpoint: {fault}", quoted(text)), REMEDY)),
        }
    }
}

text_type!(Endpoint);

/// What is wrong with a URL.
pub(super) enum Fault {
    /// It carries a user, a password or a signature: the text must not be repeated in a message.
    Credentials,
    /// Anything else.
    Other(&'static str),
}

/// The error for a URL that carries credentials; it does not repeat the URL.
pub(super) fn credentials(what: &str) -> ValueError {
    ValueError::new(
        format!("{what} contains credentials (a user, password, signature or token in the URL)"),
        "remove them from the URL and put credentials into a Secret, named by the mount's secretRef",
    )
}

/// Why `url` is not a plain http(s) URL; `None` when it is.
pub(super) fn fault(url: &str) -> Option<Fault> {
    use Fault::{Credentials, Other};
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        // An unknown scheme may carry a password all the same.
        return Some(if has_user(url) { Credentials } else { Other("it does not begin with http:// or https://") });
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Some(Credentials);
    }
    if tail.contains('?') {
        // Signed URLs and tokens travel in queries; which of them is secret is not ours to guess.
        return Some(Credentials);
    }
    if url.chars().count() > 1024 {
        return Some(Other("it is longer than 1024 characters"));
    }
    if tail.contains('#') {
        return Some(Other("it has a fragment ('#')"));
    }
    if let Some(fault) = host_fault(authority) {
        return Some(Other(fault));
    }
    if tail.chars().any(|c| c <= ' ' || c == '\u{7f}') {
        return Some(Other("it contains a space or a control character, which URLs have percent-encoded"));
    }
    path_fault(tail).map(Other)
}

/// Whether the authority of `scheme://authority...` carries a user.
pub(super) fn has_user(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(_, rest)| rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')))
}

fn host_fault(authority: &str) -> Option<&'static str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            if host.is_empty() || !host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.') {
                return Some("the address in [ ] is not an IPv6 address");
            }
            (None, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (Some(host), port)
        }
    };
    if let Some(host) = host {
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = host.as_bytes();
        let inner = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        if !(ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)) {
            return Some("the host is missing or contains a character that no host has");
        }
    }
    let digits = match port.strip_prefix(':') {
        None if port.is_empty() => return None,
        None => return Some("something other than a port follows the host"),
        Some(digits) => digits,
    };
    let valid = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (!valid).then_some("the port is not a number of up to five digits")
}

/// Why the path of a URL or a key prefix is not normalised. One slash at the end is allowed: it marks a directory.
pub(super) fn path_fault(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    path.strip_suffix('/').unwrap_or(path).split('/').find_map(|segment| match segment {
        "" => Some("it has an empty segment ('//')"),
        "." | ".." => Some("it has a '.' or '..' segment"),
        _ => None,
    })
}
