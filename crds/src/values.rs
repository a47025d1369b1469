//! Exact types for the values that people write in manifests.
//!
//! Each is parsed once, keeps what was written (so that an object read and written back is unchanged) and
//! carries its own pattern for the schema. The parser and the pattern accept the same texts; a property test
//! compares them. Two things only the parser knows: that a name has more than 255 bytes, and that the brackets of a
//! glob do not match. [`check`] finds a value's parser by its pattern, so that a manifest's error is the parser's,
//! which says what to do, and not "does not match a regular expression".

mod endpoint;
mod error;
mod glob;
mod mode;
mod names;
mod paths;
mod reserve;
mod size;
mod source;
mod text;
mod time_span;
mod words;

pub use endpoint::Endpoint;
pub use error::ValueError;
pub use glob::Glob;
pub use mode::FileMode;
pub use names::{DnsLabel, DnsName, HeaderName, NamespaceName};
pub use paths::{HostPath, TreePath};
pub use reserve::Reserve;
pub use size::{ByteSize, human};
pub use source::{Source, SourceKind};
pub use text::check;
pub use time_span::TimeSpan;
pub use words::{HeaderValue, ProfileName, Region, RelativePath};

pub(crate) use error::quoted;
pub(crate) use paths::is_within;
