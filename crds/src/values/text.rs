use super::{
    ByteSize, DnsLabel, DnsName, Endpoint, FileMode, Glob, HeaderName, HeaderValue, HostPath, NamespaceName, ProfileName, Region,
    RelativePath, Reserve, Source, TimeSpan, TreePath, ValueError,
};

/// A value that is written as a text: what its schema says beside `type: string`.
pub(crate) trait Text: Sized {
    /// Regular expression (RE2, anchored) that accepts the same texts as [`Text::parse`].
    const PATTERN: &'static str;
    /// Bounds of the length in characters, as the API server counts them.
    const LENGTH: (u64, u64);
    /// The schema's description, for `kubectl explain`.
    const DESCRIPTION: &'static str;

    fn parse(text: &str) -> Result<Self, ValueError>;
}

/// Implements what every textual type has: `FromStr`, `Display`, serde by the text as written, and its schema.
/// The type gives `as_str()` and [`Text`].
macro_rules! text_type {
    ($type:ty) => {
        impl std::str::FromStr for $type {
            type Err = crate::values::ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <Self as crate::values::text::Text>::parse(text)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use crate::values::text::Text;
                schemars::json_schema!({
                    "type": "string",
                    "description": <Self as Text>::DESCRIPTION,
                    "pattern": <Self as Text>::PATTERN,
                    "minLength": <Self as Text>::LENGTH.0,
                    "maxLength": <Self as Text>::LENGTH.1,
                })
            }
        }
    };
}
pub(crate) use text_type;

type Check = fn(&str) -> Result<(), ValueError>;

const fn entry<T: Text>() -> (&'static str, Check) {
    (T::PATTERN, |text| T::parse(text).map(drop))
}

/// Every textual type of the API, by its pattern.
const CHECKS: &[(&str, Check)] = &[
    entry::<ByteSize>(),
    entry::<DnsLabel>(),
    entry::<DnsName>(),
    entry::<Endpoint>(),
    entry::<FileMode>(),
    entry::<Glob>(),
    entry::<HeaderName>(),
    entry::<HeaderValue>(),
    entry::<HostPath>(),
    entry::<NamespaceName>(),
    entry::<ProfileName>(),
    entry::<Region>(),
    entry::<RelativePath>(),
    entry::<Reserve>(),
    entry::<Source>(),
    entry::<TimeSpan>(),
    entry::<TreePath>(),
];

/// Parses `text` as the type whose schema has `pattern`. `None`: no type of this crate has that pattern.
pub fn check(pattern: &str, text: &str) -> Option<Result<(), ValueError>> {
    CHECKS.iter().find(|(known, _)| *known == pattern).map(|(_, parse)| parse(text))
}
