use super::text::{Text, text_type};
use super::{ValueError, paths, quoted};

macro_rules! word_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $type(Box<str>);

        impl $type {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text_type!($type);
    };
}

word_type! {
    /// The region of an S3-compatible store, such as `eu-de`.
    Region
}

word_type! {
    /// The name of a profile in an AWS credentials file.
    ProfileName
}

word_type! {
    /// The value of an HTTP header: no line breaks and no control characters but tabs.
    HeaderValue
}

word_type! {
    /// A file below a source: relative and normalised, such as `index.txt` or `lists/train.txt`.
    RelativePath
}

fn check(ok: bool, text: &str, what: &str, remedy: &str) -> Result<Box<str>, ValueError> {
    if ok { Ok(text.into()) } else { Err(ValueError::new(format!("{} is not {what}", quoted(text)), remedy)) }
}

impl Text for Region {
    const PATTERN: &'static str = "^[A-Za-z0-9_-]+$";
    const LENGTH: (u64, u64) = (1, 64);
    const DESCRIPTION: &'static str = "The region of an S3-compatible store, such as eu-de.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let ok = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        check(ok, text, "the name of a region", "write up to 64 letters, digits, '-' and '_', such as eu-de").map(Self)
    }
}

impl Text for ProfileName {
    const PATTERN: &'static str = "^[A-Za-z0-9_.@/-]+$";
    const LENGTH: (u64, u64) = (1, 128);
    const DESCRIPTION: &'static str = "The name of a profile in an AWS credentials file.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let ok = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@/-".contains(&b));
        check(ok, text, "the name of a profile", "write the profile's name as in the brackets of the credentials file").map(Self)
    }
}

impl Text for HeaderValue {
    const PATTERN: &'static str = r"^[^\x00-\x08\x0a-\x1f\x7f]*$";
    const LENGTH: (u64, u64) = (0, 1024);
    const DESCRIPTION: &'static str = "The value of an HTTP header.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let ok = text.chars().count() <= 1024 && text.chars().all(|c| c == '\t' || !paths::is_control(c));
        check(ok, text, "the value of a header", "write up to 1024 characters without line breaks").map(Self)
    }
}

impl Text for RelativePath {
    const PATTERN: &'static str = r"^([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+)(/([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+))*$";
    const LENGTH: (u64, u64) = (1, 1023);
    const DESCRIPTION: &'static str = "A file below the source, such as index.txt.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let ok = !text.is_empty() && paths::fault(&format!("/{text}")).is_none();
        check(ok, text, "a path below the source", "write a relative path without '.', '..' and '//', such as index.txt")
            .map(Self)
    }
}
