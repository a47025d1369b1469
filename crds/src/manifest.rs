//! Manifest files: what the agent reads when there is no cluster.
//!
//! A file holds any number of YAML documents: Datasets, CacheRuntimes and Secrets. Reading is strict, as
//! `kubectl apply --validate=strict` is: an unknown field, a wrong type, a broken rule is an error with its line and
//! column, and all errors of a file come at once. Reading is bounded: see [`parse`].

mod cross;
mod error;
mod node;
mod object;
mod reader;
mod scalar;
mod secret;

use kube::ResourceExt;

pub use error::{ManifestError, Problem};
pub use secret::{HttpCredentials, Redacted, S3Credentials, SecretData, SecretError};

use crate::dataset::{Dataset, SecretRef};
use crate::runtime::CacheRuntime;
use node::{Mark, Node, NodeKind};
use object::{Located, Object};

/// The objects of a manifest file, each valid by itself and with what it names.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The Datasets, in the order of the file. Their namespace is set (`default` where the file names none), their
    /// status is not.
    pub datasets: Vec<Dataset>,
    /// The CacheRuntimes.
    pub runtimes: Vec<CacheRuntime>,
    /// The Secrets.
    pub secrets: Vec<SecretData>,
    /// Objects of other kinds, such as the pod that uses a Dataset. They are left alone.
    pub ignored: Vec<Ignored>,
}

/// An object that this program does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Its apiVersion.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The line on which it begins, from 1.
    pub line: usize,
}

impl Manifests {
    /// The CacheRuntime that serves `dataset`. `Some` for every Dataset of the file.
    pub fn runtime_of(&self, dataset: &Dataset) -> Option<&CacheRuntime> {
        self.runtimes.iter().find(|runtime| runtime.name_any() == *dataset.spec.runtime)
    }

    /// The Secret that a mount of `dataset` names. `Some` for every mount of the file's Datasets.
    pub fn secret_of(&self, dataset: &Dataset, name: &SecretRef) -> Option<&SecretData> {
        let namespace = dataset.namespace().unwrap_or_default();
        self.secrets.iter().find(|secret| secret.name == *name.name && secret.namespace == namespace)
    }
}

/// Reads the text of a manifest file. `origin` is the file's name, for messages.
///
/// At most 4 MiB of text, 200,000 values with what aliases repeat, and 64 levels are read; time and memory are
/// proportional to these.
///
/// # Errors
/// Everything that is wrong with the file: with the YAML, with each object, with what objects say of each other.
/// Of text that is not YAML only the first fault.
pub fn parse(text: &str, origin: &str) -> Result<Manifests, ManifestError> {
    let documents = reader::read(text).map_err(|problem| ManifestError::new(origin, vec![problem]))?;
    let mut located = Vec::new();
    let mut problems = Vec::new();
    for document in documents.into_iter().flat_map(items) {
        match object::read(document) {
            Ok(object) => located.push(object),
            Err(found) => problems.extend(found),
        }
    }
    cross::check(&located, problems.is_empty(), &mut problems);
    if !problems.is_empty() {
        return Err(ManifestError::new(origin, problems));
    }
    let mut manifests = Manifests::default();
    for Located { object, node } in located {
        match object {
            Object::Dataset(dataset) => manifests.datasets.push(dataset),
            Object::CacheRuntime(runtime) => manifests.runtimes.push(runtime),
            Object::Secret(secret) => manifests.secrets.push(secret),
            Object::Other { api_version, kind, name } => {
                manifests.ignored.push(Ignored { api_version, kind, name, line: node.mark.line });
            }
        }
    }
    Ok(manifests)
}

/// As [`parse`], for the bytes of a file.
///
/// # Errors
/// As [`parse`], and where the bytes are not UTF-8.
pub fn parse_bytes(bytes: &[u8], origin: &str) -> Result<Manifests, ManifestError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, origin),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let remedy = "save the file as UTF-8";
            let problem = reader::fault(Mark { line, column }, "the file is not UTF-8 text from here on", remedy);
            Err(ManifestError::new(origin, vec![problem]))
        }
    }
}

/// The items of a `kind: List`, as `kubectl get -o yaml` prints several objects; else the document itself.
fn items(document: Node) -> Vec<Node> {
    let text = |key: &str| document.get(key).and_then(Node::text);
    if text("kind") != Some("List") || text("apiVersion") != Some("v1") {
        return vec![document];
    }
    let NodeKind::Map(entries) = document.kind else { return Vec::new() };
    entries
        .into_iter()
        .filter(|entry| entry.key == "items")
        .flat_map(|entry| match entry.value.kind {
            NodeKind::List(items) => items,
            // Anything else is refused like any document that is not an object.
            _ => vec![entry.value],
        })
        .collect()
}
