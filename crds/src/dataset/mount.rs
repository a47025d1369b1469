use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::{
    ByteSize, DnsName, Endpoint, Glob, HeaderName, HeaderValue, HostPath, ProfileName, Region, RelativePath, Source, TimeSpan,
    TreePath,
};

/// One store and the place in the tree where it appears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<Mount>)]
pub struct Mount {
    /// Where the store appears in the tree. No two mounts of a Dataset have the same path.
    pub path: TreePath,

    /// Where the data lives: s3://bucket/prefix, https://host/base/, file:///directory or /directory. S3-compatible stores of
    /// every vendor are written with s3:// and options.endpoint.
    pub source: Source,

    /// How the store is reached.
    #[serde(default)]
    pub options: MountOptions,

    /// Secret in the Dataset's namespace that holds the store's credentials: accessKeyId, secretAccessKey and optionally
    /// sessionToken for S3; token, or username and password for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,

    /// Only files that match one of these patterns appear. Empty: all. Patterns are over the path relative to the mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub include: Vec<Glob>,

    /// Files that match one of these patterns do not appear, even if included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub exclude: Vec<Glob>,
}

impl Mount {
    /// The store at `source` under `path`, with every default.
    pub fn of(path: TreePath, source: Source) -> Self {
        Self { path, source, options: MountOptions::default(), secret_ref: None, include: Vec::new(), exclude: Vec::new() }
    }
}

/// A Secret of the Dataset's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The Secret's name.
    pub name: DnsName,
}

/// How a store is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<MountOptions>)]
pub struct MountOptions {
    /// S3: address of the store. Absent: AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,

    /// S3: region that requests are signed for. Absent: what the environment or the credentials file say, else us-east-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,

    /// S3: whether the bucket stands in the path or in the host name of requests. Absent: Path with an endpoint,
    /// Virtual without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,

    /// S3: send unsigned requests, for public buckets.
    pub anonymous: bool,

    /// S3: AWS credentials file on the machine. For an agent without a cluster; in a cluster use secretRef.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<HostPath>,

    /// S3: profile in the credentials file. Absent: default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,

    /// HTTP: path, relative to the source, of a text file that lists the files, one path a line. HTTP has no listing of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<RelativePath>,

    /// HTTP: headers sent with every request. Credentials go into the Secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<HttpHeader>,

    /// A request that makes no progress for so long is given up and tried again.
    pub request_timeout: TimeSpan,

    /// Most requests to the store in flight from one node.
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: u32,

    /// Most bytes a second that one node reads from the store. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<ByteSize>,

    /// How often a failed request is tried again before a read fails. 0: never.
    #[schemars(range(min = 0, max = 20))]
    pub retries: u32,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            addressing: None,
            anonymous: false,
            credentials_file: None,
            profile: None,
            index: None,
            headers: Vec::new(),
            request_timeout: TimeSpan::from_secs(30),
            concurrency: 64,
            bandwidth: None,
            retries: 5,
        }
    }
}

impl MountOptions {
    /// The addressing in effect: as written, else Path with an endpoint and Virtual without.
    pub fn effective_addressing(&self) -> Addressing {
        self.addressing.unwrap_or(if self.endpoint.is_some() { Addressing::Path } else { Addressing::Virtual })
    }
}

/// S3: whether the bucket stands in the path or in the host name of requests. Absent: Path with an endpoint, Virtual
/// without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    Virtual,
}

/// A header of HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<HttpHeader>)]
pub struct HttpHeader {
    /// The header's name.
    pub name: HeaderName,

    /// The header's value.
    pub value: HeaderValue,
}
