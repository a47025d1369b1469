use std::fmt;
use std::path::PathBuf;

use crate::{StoreError, StoreErrorKind, StoreId};

/// Which bucket, where, and as whom.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Bucket name.
    pub bucket: String,
    /// Key prefix of the mount's root; counts as a directory, with or without a trailing `/`.
    pub prefix: String,
    /// `http://` or `https://` address of the service; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// Region to sign for. `None`: `us-east-1` with an endpoint, else `AWS_REGION`, `AWS_DEFAULT_REGION` or `us-east-1`.
    pub region: Option<String>,
    /// Where the bucket's name goes.
    pub addressing: Addressing,
    /// As whom.
    pub credentials: S3Credentials,
    /// Certificates (PEM) to trust besides the system's, for an endpoint with a CA of its own.
    pub ca_pem: Option<Vec<u8>>,
    /// Keys a listing page, 1 to 1000.
    pub page_size: u16,
    /// Takes an ETag that looks like an MD5 for one. Off for a vendor whose ETags only look so.
    pub verify_md5: bool,
}

impl S3Config {
    /// A bucket on AWS with the default credentials; fields are then set as needed.
    pub fn new(bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            addressing: Addressing::Auto,
            credentials: S3Credentials::Default,
            ca_pem: None,
            page_size: 1000,
            verify_md5: true,
        }
    }

    /// `s3://HOST[:PORT][/PATH]/BUCKET[/PREFIX]`: the scheme, the default port, region, style and credentials do not
    /// change what a key means, so they are no part of it. AWS itself is `amazonaws.com`, in China `amazonaws.com.cn`.
    pub fn store_id(&self) -> StoreId {
        let host = match &self.endpoint {
            Some(endpoint) => normal_host(endpoint),
            None if self.region().starts_with("cn-") => "amazonaws.com.cn".to_owned(),
            None => "amazonaws.com".to_owned(),
        };
        let prefix = self.prefix.strip_suffix('/').unwrap_or(&self.prefix);
        let slash = if prefix.is_empty() { "" } else { "/" };
        StoreId::new(format!("s3://{host}/{}{slash}{prefix}", self.bucket))
    }

    pub(super) fn region(&self) -> String {
        let environment = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
        match (&self.region, &self.endpoint) {
            (Some(region), _) => region.clone(),
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => environment().filter(|region| !region.is_empty()).unwrap_or("us-east-1".to_owned()),
        }
    }

    /// The endpoint as the SDK takes it: with a path, it puts the bucket right behind it, so the slash must be there.
    pub(super) fn endpoint_url(&self) -> Option<String> {
        self.endpoint.as_ref().map(|endpoint| format!("{}/", endpoint.trim_end_matches('/')))
    }

    pub(super) fn path_style(&self) -> bool {
        match self.addressing {
            Addressing::Path => true,
            Addressing::Virtual => false,
            Addressing::Auto => self.endpoint.as_deref().is_some_and(|endpoint| !wants_virtual(endpoint)),
        }
    }

    /// What cannot work, with the field's name.
    pub(super) fn validate(&self) -> Result<(), String> {
        let bucket_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if self.bucket.is_empty() || self.bucket.len() > 255 || !self.bucket.chars().all(bucket_ok) {
            return Err(format!("bucket {:?}: a name of letters, digits, '.', '-' and '_' is needed", self.bucket));
        }
        if let Some(endpoint) = &self.endpoint {
            let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
            let host = rest.split('/').next().unwrap_or_default();
            if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") || host.is_empty() {
                return Err(format!("endpoint {endpoint:?}: write it as https://HOST[:PORT]"));
            }
            if rest.contains('@') {
                return Err("endpoint: credentials do not belong into the address; use a secret".to_owned());
            }
            if rest.contains(['?', '#']) {
                return Err(format!("endpoint {endpoint:?}: it cannot have a query"));
            }
        }
        if let Some(region) = &self.region
            && (region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
        {
            return Err(format!("region {region:?}: a name such as eu-de is needed"));
        }
        if let S3Credentials::Static { access_key_id, secret_access_key, .. } = &self.credentials
            && (access_key_id.is_empty() || secret_access_key.is_empty())
        {
            return Err("credentials: the access key id and the secret access key must not be empty".to_owned());
        }
        Ok(())
    }
}

/// Where the bucket's name goes in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Virtual for AWS, OBS, OSS and COS, which want it; path for every other endpoint.
    #[default]
    Auto,
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    Virtual,
}

/// As whom to ask. `Debug` never prints a secret.
#[derive(Clone, Default)]
pub enum S3Credentials {
    /// The SDK's chain: environment, profile files, web identity, container, instance.
    #[default]
    Default,
    /// Unsigned requests, for public buckets.
    Anonymous,
    /// Long-lived keys, or a session's with its token.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
        /// Session token of temporary credentials.
        session_token: Option<String>,
    },
    /// A profile in a credentials file (INI as of the AWS CLI). Read again every minute, so a rotated file is picked up.
    File {
        /// The file.
        path: PathBuf,
        /// The section; `None` for `default`.
        profile: Option<String>,
    },
    /// Only `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Static { session_token, .. } => {
                f.debug_struct("Static").field("session", &session_token.is_some()).finish_non_exhaustive()
            }
            Self::File { path, profile } => f.debug_struct("File").field("path", path).field("profile", profile).finish(),
            Self::Environment => f.write_str("Environment"),
        }
    }
}

pub(super) fn invalid(id: &StoreId, text: String) -> StoreError {
    StoreError::new(id, "open", "", StoreErrorKind::Config(text))
}

/// Host, port unless it is the scheme's own, and path without a trailing slash.
fn normal_host(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    let port = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let host = host.strip_suffix(port).unwrap_or(&host);
    let path = path.trim_matches('/');
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// Services that refuse or discourage path style.
fn wants_virtual(endpoint: &str) -> bool {
    let host = normal_host(endpoint);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let suffixes = [".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com", ".myqcloud.com", ".myhuaweicloud.com"];
    suffixes.iter().any(|suffix| host.ends_with(suffix))
        || (host.starts_with("obs.") && (host.ends_with(".t-systems.com") || host.ends_with(".otc-service.com")))
}

#[cfg(test)]
mod tests;
