//! The rules over several fields, each once: as CEL for the API server and beside it as a function for
//! manifests that no API server sees. A test evaluates the CEL of the generated YAML and the function on the
//! same objects and compares the verdicts.
//!
//! What a schema says by itself (types, bounds, enums, patterns, unique keys) is not repeated here.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::{Value, json};

mod dataset;
mod runtime;
mod scale;

/// A rule over the fields of a `T`.
pub struct Rule<T: 'static> {
    /// Field of `T` that is wrong when the rule fails, such as `maxAge`; empty: the whole.
    pub field: &'static str,
    /// The rule in CEL, over `self`. It sees defaults filled in.
    pub cel: &'static str,
    /// What is wrong when the rule fails.
    pub problem: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The rule in Rust.
    pub holds: fn(&T) -> bool,
}

/// A rule over what a `T` was and is to be, for updates of an object.
pub struct Transition<T: 'static> {
    /// As in [`Rule`].
    pub field: &'static str,
    /// The rule in CEL, over `self` and `oldSelf`.
    pub cel: &'static str,
    /// As in [`Rule`].
    pub problem: &'static str,
    /// As in [`Rule`].
    pub remedy: &'static str,
    /// The rule in Rust: what it was, what it is to be.
    pub holds: fn(&T, &T) -> bool,
}

/// A type with rules.
pub trait Ruled: Sized + 'static {
    /// The rules, each over a single value.
    const RULES: &'static [Rule<Self>];
    /// The rules over updates.
    const TRANSITIONS: &'static [Transition<Self>] = &[];
}

/// Schema transform: writes the rules of `T` into its schema and makes number formats Kubernetes' own.
pub fn attach<T: Ruled>(schema: &mut Schema) {
    kubernetes_formats(schema);
    let entry = |field: &str, cel: &str, problem: &str, remedy: &str| {
        let mut entry = json!({ "rule": cel, "message": format!("{problem}; {remedy}") });
        if !field.is_empty() {
            entry["fieldPath"] = Value::String(format!(".{field}"));
        }
        entry
    };
    let mut rules: Vec<Value> = T::RULES.iter().map(|rule| entry(rule.field, rule.cel, rule.problem, rule.remedy)).collect();
    rules.extend(T::TRANSITIONS.iter().map(|rule| entry(rule.field, rule.cel, rule.problem, rule.remedy)));
    if !rules.is_empty() {
        schema.ensure_object().insert("x-kubernetes-validations".to_owned(), Value::Array(rules));
    }
}

/// Schema transform: Kubernetes knows `int32`, `int64`, `float` and `double` and warns about Rust's other formats.
pub fn kubernetes_formats(schema: &mut Schema) {
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        let known = match format {
            "uint8" | "int8" | "uint16" | "int16" => Some("int32"),
            "uint32" | "uint64" | "uint" | "int" => Some("int64"),
            _ => None,
        };
        if let Some(known) = known {
            schema.insert("format".to_owned(), known.into());
        }
    }
    transform_subschemas(&mut kubernetes_formats, schema);
}
