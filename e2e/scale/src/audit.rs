use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Selects every request of the operator, and its object's name only.
pub(crate) fn policy(namespace: &str) -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules:\n\
         - {{level: Metadata, users: [\"system:serviceaccount:{namespace}:forebay-operator\"]}}\n- {{level: None}}\n"
    )
}

/// The API server's log of the operator's requests.
pub(crate) struct Audit {
    pub(crate) log: PathBuf,
}

/// Requests of some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    /// What changes an object, by verb and resource.
    pub(crate) writes: BTreeMap<String, u64>,
    /// Tokens that the API server was asked about. It keeps nothing of them.
    pub(crate) reviews: u64,
    /// Gets and lists.
    pub(crate) reads: u64,
}

impl Requests {
    /// Writes of all kinds.
    pub(crate) fn written(&self) -> u64 {
        self.writes.values().sum()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    object_ref: Option<Object>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Object {
    resource: String,
    subresource: Option<String>,
}

impl Audit {
    /// The requests that came from `from` until `to`.
    pub(crate) fn between(&self, from: Timestamp, to: Timestamp) -> Result<Requests> {
        let text = fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        // The last line may still be being written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.map(serde_json::from_str::<Line>).collect::<Result<Vec<_>, _>>().context("parse the audit log")?;
        Ok(counted(lines.iter().filter(|line| (from..to).contains(&line.request_received_timestamp))))
    }
}

fn counted<'a>(lines: impl Iterator<Item = &'a Line>) -> Requests {
    let mut requests = Requests::default();
    for Line { verb, object_ref, .. } in lines {
        let Some(Object { resource, subresource }) = object_ref else { continue };
        match verb.as_str() {
            "get" | "list" => requests.reads += 1,
            "create" if resource == "tokenreviews" => requests.reviews += 1,
            "create" | "update" | "patch" | "delete" => {
                let of = subresource.as_ref().map_or_else(|| resource.clone(), |sub| format!("{resource}/{sub}"));
                *requests.writes.entry(format!("{verb} {of}")).or_default() += 1;
            }
            _ => {}
        }
    }
    requests
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_an_object_is_a_write() {
        let line = |verb: &str, resource: &str| -> Line {
            let line = format!(
                r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}"}},"requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z"}}"#
            );
            serde_json::from_str(&line).unwrap()
        };
        let lines = [line("patch", "datasets"), line("create", "tokenreviews"), line("get", "secrets"), line("watch", "nodes")];
        let requests = counted(lines.iter());
        assert_eq!((requests.written(), requests.reviews, requests.reads), (1, 1, 1));
    }
}
