//! Server-side apply, and whether there is anything to apply.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{hash, names, quantity};

/// Annotation with a hash of what was applied: says when what is wished has changed, also by what is not wished any more.
const APPLIED: &str = "forebay.io/applied";

pub(crate) fn params() -> PatchParams {
    PatchParams::apply(names::FIELD_MANAGER).force()
}

/// Makes the object as `wished`; writes nothing when `actual` is so already. Returns the object as it is then.
pub(crate) async fn apply<K>(api: &Api<K>, mut wished: K, actual: Option<&K>) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let json = serde_json::to_value(&wished).unwrap_or_default();
    let mark = format!("{:016x}", hash::stable(&[json.to_string().as_bytes()]));
    wished.annotations_mut().insert(APPLIED.to_owned(), mark.clone());
    if let Some(actual) = actual {
        let same_wish = actual.annotations().get(APPLIED) == Some(&mark);
        if same_wish && covers(&serde_json::to_value(actual).unwrap_or_default(), &json) {
            return Ok(actual.clone());
        }
    }
    let name = wished.name_any();
    tracing::info!(kind = %K::kind(&()), name, "applied");
    api.patch(&name, &params(), &Patch::Apply(&wished)).await
}

/// Writes the status of an object, unless it is gone.
pub(crate) async fn write_status<K>(api: &Api<K>, object: &K, status: &impl Serialize) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    gone_is_done(api.patch_status(&name, &params(), &Patch::Apply(&body)).await.map(drop))
}

/// What is to be done to an object that is gone is done.
pub(crate) fn gone_is_done(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        // 409: an object of another uid has the name now.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        result => result,
    }
}

/// Whether it failed because the namespace is being deleted: then what it would hold is to go anyway.
pub(crate) fn is_ending_namespace(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}

/// An error in the API server's own words.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

/// Whether `actual` has all that `wished` says. Lists are compared as wholes in length, and element by element.
fn covers(actual: &Value, wished: &Value) -> bool {
    match (actual, wished) {
        (Value::Object(actual), Value::Object(wished)) => wished.iter().all(|(key, wished)| match actual.get(key) {
            Some(actual) => covers(actual, wished),
            // The API server leaves out what is empty.
            None => is_empty(wished),
        }),
        (Value::Array(actual), Value::Array(wished)) => {
            actual.len() == wished.len() && actual.iter().zip(wished).all(|(actual, wished)| covers(actual, wished))
        }
        // The API server writes quantities its own way.
        (Value::String(actual), Value::String(wished)) if actual != wished => {
            quantity::milli(actual).is_some_and(|value| quantity::milli(wished) == Some(value))
        }
        _ => actual == wished,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_add_is_theirs_and_what_they_change_is_seen() {
        let wished = json!({"spec": {"size": "1048576", "list": [{"name": "a"}], "none": {}}});
        let with = |spec: Value| json!({"spec": spec, "status": {"phase": "Bound"}});
        assert!(covers(&with(json!({"size": "1Mi", "list": [{"name": "a", "default": 1}], "more": true})), &wished));
        assert!(!covers(&with(json!({"size": "2Mi", "list": [{"name": "a"}]})), &wished));
        assert!(!covers(&with(json!({"size": "1Mi", "list": []})), &wished));
        assert!(!covers(&with(json!({"size": "1Mi", "list": [{"name": "a"}, {"name": "b"}]})), &wished));
        assert!(!covers(&json!({}), &wished));
    }
}
