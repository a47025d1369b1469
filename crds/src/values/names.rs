use super::text::{Text, text_type};
use super::{ValueError, quoted};

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        text_type!($type);
    };
}

name_type! {
    /// A Kubernetes label name (RFC 1123): up to 63 lower-case letters, digits and `-`.
    DnsLabel
}

name_type! {
    /// A Kubernetes object name (RFC 1123 subdomain): labels joined by `.`, up to 253 characters.
    DnsName
}

name_type! {
    /// A namespace, or `*` for every namespace.
    NamespaceName
}

name_type! {
    /// The name of an HTTP header (RFC 9110 token).
    HeaderName
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&a), Some(&z)) if inner(a) && inner(z))
        && bytes.iter().all(|&b| inner(b) || b == b'-')
}

impl Text for DnsLabel {
    const PATTERN: &'static str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
    const LENGTH: (u64, u64) = (1, 63);
    const DESCRIPTION: &'static str = "Up to 63 lower-case letters, digits and '-', with a letter or digit at both ends.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() <= 63 && is_label(text) {
            return Ok(Self(text.into()));
        }
        Err(ValueError::new(
            format!("{} is not a name", quoted(text)),
            "use up to 63 lower-case letters, digits and '-', with a letter or digit at both ends",
        ))
    }
}

impl Text for DnsName {
    const PATTERN: &'static str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
    const LENGTH: (u64, u64) = (1, 253);
    const DESCRIPTION: &'static str =
        "The name of a Kubernetes object: lower-case letters, digits, '-' and '.', up to 253 characters.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() <= 253 && text.split('.').all(is_label) {
            return Ok(Self(text.into()));
        }
        Err(ValueError::new(
            format!("{} is not the name of an object", quoted(text)),
            "use up to 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends and around each '.'",
        ))
    }
}

impl Text for NamespaceName {
    const PATTERN: &'static str = r"^(\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?)$";
    const LENGTH: (u64, u64) = (1, 63);
    const DESCRIPTION: &'static str = "A namespace, or * for every namespace.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        if text == "*" || (text.len() <= 63 && is_label(text)) {
            return Ok(Self(text.into()));
        }
        Err(ValueError::new(
            format!("{} is not a namespace", quoted(text)),
            "write the name of a namespace (up to 63 lower-case letters, digits and '-') or \"*\" for every namespace",
        ))
    }
}

impl Text for HeaderName {
    const PATTERN: &'static str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
    const LENGTH: (u64, u64) = (1, 128);
    const DESCRIPTION: &'static str = "The name of an HTTP header.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(token) {
            return Ok(Self(text.into()));
        }
        Err(ValueError::new(
            format!("{} is not the name of an HTTP header", quoted(text)),
            "write letters, digits and '-', such as X-Project",
        ))
    }
}
