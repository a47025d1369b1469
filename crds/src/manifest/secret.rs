use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;

use super::node::{Node, NodeKind};
use crate::validate::{FieldError, FieldPath};

/// A Kubernetes Secret: credentials that a mount's `secretRef` names. Its values never appear in `Debug` or in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretData {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    entries: BTreeMap<String, Redacted>,
}

/// Bytes that no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(Vec<u8>);

impl Redacted {
    /// Takes `bytes` out of sight.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. Whoever calls this sees that they go nowhere but to the store.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text without spaces and line breaks at its ends, which `echo | base64` leaves there. `None`: not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok().map(str::trim_ascii)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Credentials of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// Secret keys `accessKeyId`, `AWS_ACCESS_KEY_ID` or `access-key-id`.
    pub access_key_id: Redacted,
    /// Secret keys `secretAccessKey`, `AWS_SECRET_ACCESS_KEY` or `secret-access-key`.
    pub secret_access_key: Redacted,
    /// Secret keys `sessionToken`, `AWS_SESSION_TOKEN` or `session-token`.
    pub session_token: Option<Redacted>,
}

/// Credentials of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpCredentials {
    /// Secret keys `username` and `password`.
    Basic {
        /// The user.
        username: Redacted,
        /// The user's password.
        password: Redacted,
    },
    /// Secret key `token`.
    Bearer(Redacted),
}

const ACCESS_KEY_ID: [&str; 3] = ["accessKeyId", "AWS_ACCESS_KEY_ID", "access-key-id"];
const SECRET_ACCESS_KEY: [&str; 3] = ["secretAccessKey", "AWS_SECRET_ACCESS_KEY", "secret-access-key"];
const SESSION_TOKEN: [&str; 3] = ["sessionToken", "AWS_SESSION_TOKEN", "session-token"];

/// A Secret lacks what a store of its kind needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.parts().0, self.parts().1)]
pub struct SecretError {
    namespace: String,
    name: String,
    key: &'static str,
    kind: &'static str,
    wanted: &'static str,
}

impl SecretError {
    /// The problem and the remedy.
    pub(super) fn parts(&self) -> (String, String) {
        let Self { namespace, name, key, kind, wanted } = self;
        (format!("Secret {namespace}/{name} has no usable {key}"), format!("add the key {key} to it: {kind} takes {wanted}"))
    }
}

impl SecretData {
    /// A Secret of `entries`.
    pub fn new(namespace: &str, name: &str, entries: BTreeMap<String, Redacted>) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), entries }
    }

    /// Its keys and values, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Redacted)> {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Redacted> {
        self.entries.get(key)
    }

    /// The credentials of an S3-compatible store.
    ///
    /// # Errors
    /// If a key is missing, empty or not UTF-8.
    pub fn s3(&self) -> Result<S3Credentials, SecretError> {
        let error = |key| self.error(key, "an S3-compatible store", "accessKeyId, secretAccessKey and optionally sessionToken");
        Ok(S3Credentials {
            access_key_id: self.first(&ACCESS_KEY_ID).ok_or_else(|| error("accessKeyId"))?,
            secret_access_key: self.first(&SECRET_ACCESS_KEY).ok_or_else(|| error("secretAccessKey"))?,
            session_token: self.first(&SESSION_TOKEN),
        })
    }

    /// The credentials of an HTTP server.
    ///
    /// # Errors
    /// If there is neither a `token` nor a `username` with a `password`.
    pub fn http(&self) -> Result<HttpCredentials, SecretError> {
        let error = |key| self.error(key, "HTTP", "token, or username and password");
        if let Some(token) = self.first(&["token"]) {
            return Ok(HttpCredentials::Bearer(token));
        }
        Ok(HttpCredentials::Basic {
            username: self.first(&["username"]).ok_or_else(|| error("username"))?,
            password: self.first(&["password"]).ok_or_else(|| error("password"))?,
        })
    }

    fn first(&self, keys: &[&str]) -> Option<Redacted> {
        let value = keys.iter().find_map(|key| self.entries.get(*key))?;
        value.expose_text().filter(|text| !text.is_empty()).map(Redacted::new)
    }

    fn error(&self, key: &'static str, kind: &'static str, wanted: &'static str) -> SecretError {
        SecretError { namespace: self.namespace.clone(), name: self.name.clone(), key, kind, wanted }
    }
}

/// Reads the entries of a Secret's document. Errors name keys, never values.
pub(super) fn entries(document: &Node, errors: &mut Vec<FieldError>) -> BTreeMap<String, Redacted> {
    let mut out = BTreeMap::new();
    let root = FieldPath::default();
    let NodeKind::Map(fields) = &document.kind else { return out };
    for field in fields {
        let path = root.key(&field.key);
        match field.key.as_str() {
            "apiVersion" | "kind" | "metadata" | "type" | "immutable" => {}
            "data" | "stringData" => read_map(&field.value, &path, field.key == "data", &mut out, errors),
            _ => errors.push(FieldError {
                at_name: true,
                ..FieldError::new(path, "there is no such field", "put the values under stringData, or in base64 under data")
            }),
        }
    }
    out
}

fn read_map(node: &Node, path: &FieldPath, base64: bool, out: &mut BTreeMap<String, Redacted>, errors: &mut Vec<FieldError>) {
    if node.is_null() {
        return;
    }
    let NodeKind::Map(entries) = &node.kind else {
        errors.push(FieldError::new(path.clone(), "an object is wanted", "write key: value below it, indented"));
        return;
    };
    for entry in entries {
        let path = path.key(&entry.key);
        let NodeKind::Scalar { text, plain } = &entry.value.kind else {
            errors.push(FieldError::new(path, "a text is wanted (its value is not shown)", "write the value as one text"));
            continue;
        };
        let value = if base64 { decode(text) } else { Some(text.clone().into_bytes()) };
        match value {
            // kubectl refuses these, since they are not texts.
            _ if *plain && super::scalar::meaning(text) != super::scalar::Meaning::Text => errors.push(FieldError::new(
                path,
                "a text is wanted, but a number, a truth value or nothing was found (it is not shown)",
                "put the value in quotes",
            )),
            None => errors.push(FieldError::new(
                path,
                "the value is not base64 (it is not shown)",
                "encode it, or put the plain text under stringData",
            )),
            // As in Kubernetes, stringData wins whatever the order.
            Some(bytes) if base64 => {
                out.entry(entry.key.clone()).or_insert_with(|| Redacted::new(bytes));
            }
            Some(bytes) => {
                out.insert(entry.key.clone(), Redacted::new(bytes));
            }
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    serde_json::from_value::<ByteString>(compact.into()).ok().map(|bytes| bytes.0)
}
