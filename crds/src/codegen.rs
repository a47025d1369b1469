//! The CustomResourceDefinitions: what a cluster is given, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{CacheRuntime, CacheRuntimeScale, Dataset};

mod reference;

/// Longest name of an object: it becomes the value of labels, and a directory.
pub(crate) const NAME_LENGTH: usize = 63;

/// The CustomResourceDefinitions as JSON, ready for an API server.
///
/// Beside what kube derives there is the rule on `metadata.name`, which only the root of a schema may state.
pub fn crds() -> Vec<Value> {
    let crds = [Dataset::crd(), CacheRuntime::crd(), CacheRuntimeScale::crd()];
    crds.into_iter().map(|crd| finish(&crd, name_rule(&crd.spec.names.kind))).collect()
}

fn name_rule(kind: &str) -> Value {
    json!({
        "rule": format!("size(self.metadata.name) <= {NAME_LENGTH}"),
        "message": format!("the name of a {kind} is longer than {NAME_LENGTH} characters and would not fit a label; use a shorter name"),
    })
}

fn finish(crd: &CustomResourceDefinition, rule: Value) -> Value {
    // A CustomResourceDefinition is plain data: strings, numbers, lists and maps with string keys.
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    if let Some(root) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").and_then(Value::as_object_mut) {
        root.insert("x-kubernetes-validations".to_owned(), json!([rule]));
        root.values_mut().for_each(without_nullable);
    }
    crd
}

/// Takes `nullable` out of a schema. Without it the API server drops a null before it fills in defaults and evaluates
/// rules, so that `maxAge: null` is the same as no `maxAge`, here as in a manifest file.
fn without_nullable(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(without_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nullable),
        _ => {}
    }
}

/// The CustomResourceDefinition of `kind`, such as `Dataset`, as YAML, with a line that says where it
/// comes from. `None` for another kind.
pub fn crd_yaml(kind: &str) -> Option<String> {
    let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind)?;
    let yaml = serde_yaml::to_string(&crd).ok()?;
    Some(format!("# Generated from the types in crds/src by `cargo xtask codegen`. Do not edit.\n{yaml}"))
}

/// The files that `cargo xtask codegen` writes: path in the repository and content.
pub fn generated_files() -> Vec<(&'static str, String)> {
    let definitions = [
        ("crds/dataset.yaml", "Dataset"),
        ("crds/cacheruntime.yaml", "CacheRuntime"),
        ("crds/cacheruntimescale.yaml", "CacheRuntimeScale"),
    ];
    let pages = ["docs/reference/dataset.md", "docs/reference/cacheruntime.md", "docs/reference/cacheruntimescale.md"];
    let definitions = definitions.into_iter().filter_map(|(path, kind)| crd_yaml(kind).map(|yaml| (path, yaml)));
    definitions.chain(pages.into_iter().zip(crds().iter().map(reference::page))).collect()
}
