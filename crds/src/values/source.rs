use super::endpoint::{self, Fault, credentials, has_user, path_fault};
use super::paths::{self, is_control};
use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// Where a mount's data lives: `s3://bucket/prefix`, `http(s)://host/base/`, `file:///dir` or `/dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    kind: SourceKind,
    written: Box<str>,
}

/// A source taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// An S3-compatible bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The key prefix of the directory, without slash at either end; empty for the whole bucket.
        prefix: String,
    },
    /// A directory of this machine: a local disk, NFS, or any other mounted file system.
    File {
        /// The absolute, normalised path, without slash at the end; `/` for the root.
        path: String,
    },
    /// Files below a base URL.
    Http {
        /// The base URL, ending with `/`.
        base: String,
    },
    /// A store in memory, for tests of this program: no manifest may name it.
    Memory {
        /// The name of the store.
        name: String,
    },
}

/// Stores that people know and that this version does not read, by the schemes that they are written with.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("gs", "Google Cloud Storage"),
    ("gcs", "Google Cloud Storage"),
    ("az", "Azure Blob Storage"),
    ("azblob", "Azure Blob Storage"),
    ("azure", "Azure Blob Storage"),
    ("abfs", "Azure Data Lake Storage"),
    ("abfss", "Azure Data Lake Storage"),
    ("wasb", "Azure Blob Storage"),
    ("wasbs", "Azure Blob Storage"),
    ("oss", "Alibaba Cloud OSS"),
    ("cos", "Tencent Cloud COS"),
    ("swift", "OpenStack Swift"),
    ("hdfs", "HDFS"),
    ("viewfs", "HDFS"),
    ("webhdfs", "WebHDFS"),
    ("webdav", "WebDAV"),
    ("dav", "WebDAV"),
    ("davs", "WebDAV"),
    ("sftp", "SFTP"),
    ("ftp", "FTP"),
    ("nfs", "NFS"),
    ("hf", "Hugging Face Hub"),
    ("dataset", "another Dataset"),
    ("pvc", "a PersistentVolumeClaim"),
];

/// Other spellings of `s3`.
const S3_ALIASES: &[&str] = &["s3a", "s3n", "obs", "minio"];

const REMEDY: &str = "write s3://bucket/prefix, https://host/base/, file:///directory or /directory";

impl Source {
    /// A store in memory named `name`, for tests.
    pub fn memory(name: &str) -> Self {
        Self { kind: SourceKind::Memory { name: name.to_owned() }, written: format!("mem://{name}").into() }
    }

    /// The source taken apart.
    pub fn kind(&self) -> &SourceKind {
        &self.kind
    }

    /// `s3`, `file`, `http`, `https` or `mem`.
    pub fn scheme(&self) -> &'static str {
        match &self.kind {
            SourceKind::S3 { .. } => "s3",
            SourceKind::File { .. } => "file",
            SourceKind::Http { base } if base.starts_with("https:") => "https",
            SourceKind::Http { .. } => "http",
            SourceKind::Memory { .. } => "mem",
        }
    }

    /// As it was written. It never contains credentials.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl Text for Source {
    const PATTERN: &'static str = r"^(s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+))*/?|(file://)?/|(file://)?(/([^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*|\.\.[^/\x00-\x1f\x7f]+))+/?|https?://([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/([^./?#\x00-\x20\x7f][^/?#\x00-\x20\x7f]*|\.[^./?#\x00-\x20\x7f][^/?#\x00-\x20\x7f]*|\.\.[^/?#\x00-\x20\x7f]+))*/?)$";
    const LENGTH: (u64, u64) = (1, 1024);
    const DESCRIPTION: &'static str = "Where the data lives: s3://bucket/prefix, https://host/base/, file:///directory or /directory. Credentials go into a Secret.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let kind = parse_kind(text)?;
        if text.chars().count() > 1024 {
            return Err(wrong(text, "it is longer than 1024 characters"));
        }
        Ok(Self { kind, written: text.into() })
    }
}

fn wrong(text: &str, fault: &str) -> ValueError {
    ValueError::new(format!("{} is not a source: {fault}", quoted(text)), REMEDY)
}

fn parse_kind(text: &str) -> Result<SourceKind, ValueError> {
    if has_user(text) {
        return Err(credentials("the source"));
    }
    if text.is_empty() {
        return Err(wrong(text, "it is empty"));
    }
    if text.starts_with('/') {
        return parse_file(text, text);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong(text, "it has no scheme and does not begin with '/'"));
    };
    match scheme {
        "s3" => parse_s3(text, rest),
        "file" => parse_file(text, rest),
        "http" | "https" => parse_http(text),
        _ => Err(parse_other(text, scheme, rest)),
    }
}

fn parse_s3(text: &str, rest: &str) -> Result<SourceKind, ValueError> {
    let (bucket, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bytes = bucket.as_bytes();
    let end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    if !((3..=63).contains(&bytes.len()) && end(bytes.first()) && end(bytes.last()) && bytes.iter().all(inner)) {
        return Err(wrong(text, "the bucket is not a name of 3 to 63 letters, digits, '-', '.' and '_'"));
    }
    if prefix.chars().any(is_control) {
        return Err(wrong(text, "it contains a control character"));
    }
    if let Some(fault) = path_fault(prefix) {
        return Err(wrong(text, fault));
    }
    Ok(SourceKind::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
}

fn parse_file(text: &str, path: &str) -> Result<SourceKind, ValueError> {
    if !path.starts_with('/') {
        return Err(ValueError::new(
            format!("{} is not a source: a host or a relative path follows file://", quoted(text)),
            "write three slashes and the absolute path, as in file:///data, or the path alone",
        ));
    }
    // One slash at the end marks a directory; the root has no other.
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some("/") => return Err(wrong(text, "it has an empty segment ('//')")),
        Some(path) => path,
    };
    match paths::fault(path) {
        None => Ok(SourceKind::File { path: path.to_owned() }),
        Some(fault) => Err(wrong(text, fault)),
    }
}

fn parse_http(text: &str) -> Result<SourceKind, ValueError> {
    match endpoint::fault(text) {
        Some(Fault::Credentials) => return Err(credentials("the source")),
        Some(Fault::Other(fault)) => return Err(wrong(text, fault)),
        None => {}
    }
    let slash = if text.ends_with('/') { "" } else { "/" };
    Ok(SourceKind::Http { base: format!("{text}{slash}") })
}

fn parse_other(text: &str, scheme: &str, rest: &str) -> ValueError {
    let lower = scheme.to_ascii_lowercase();
    if let Some((_, store)) = NOT_SUPPORTED.iter().find(|(known, _)| *known == lower) {
        return ValueError::new(
            format!("{} names {store}, which is not supported by this version", quoted(text)),
            "use a store with an S3-compatible interface (s3://), HTTP(S), or a directory of the node",
        );
    }
    if S3_ALIASES.contains(&lower.as_str()) {
        return ValueError::new(
            format!("{} is not a source: S3-compatible stores are written with s3://", quoted(text)),
            format!("write s3://{} and the store's address in options.endpoint", shown(rest)),
        );
    }
    if matches!(lower.as_str(), "s3" | "file" | "http" | "https") {
        return wrong(text, "the scheme is not in lower case");
    }
    if lower == "mem" {
        return wrong(text, "a store in memory is for this program's own tests");
    }
    wrong(text, &format!("the scheme {} is not known", quoted(scheme)))
}

/// `text` for a remedy, without quotes.
fn shown(text: &str) -> String {
    let quoted = quoted(text);
    quoted.trim_matches('"').to_owned()
}

text_type!(Source);
