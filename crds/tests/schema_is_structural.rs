//! The schemas obey what an API server demands of a CustomResourceDefinition (structural schemas) and use only what
//! this crate's own check of manifests knows.

use std::collections::BTreeSet;

use serde_json::Value;

/// What `schema_check` acts upon, and what has no bearing on validity.
const KNOWN: [&str; 26] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    // Kept for schemas to come; a node that has one of these is looked at below.
    "nullable",
    "oneOf",
    "anyOf",
    "allOf",
];

const FORMATS: [&str; 5] = ["int32", "int64", "float", "double", "date-time"];

fn walk(schema: &Value, path: &str, in_spec: bool, seen: &mut usize) {
    *seen += 1;
    let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object: {schema}"));
    for key in fields.keys() {
        assert!(KNOWN.contains(&key.as_str()), "{path}: {key} is not a keyword that is known here");
        assert!(!["nullable", "oneOf", "anyOf", "allOf"].contains(&key.as_str()), "{path}: {key} is not checked in manifests");
    }
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    assert!(int_or_string != fields.contains_key("type"), "{path}: exactly one of type and x-kubernetes-int-or-string is needed");
    let of_type = |name: &str| schema["type"] == name;
    assert!(of_type("object") || (!fields.contains_key("properties") && !fields.contains_key("additionalProperties")), "{path}");
    assert!(
        !(fields.contains_key("properties") && fields.contains_key("additionalProperties")),
        "{path}: both exclude each other"
    );
    assert_eq!(of_type("array"), fields.contains_key("items"), "{path}: an array has items, nothing else has");
    if let Some(format) = schema["format"].as_str() {
        assert!(FORMATS.contains(&format), "{path}: the API server warns about format {format}");
    }
    if of_type("integer") {
        assert!(fields.contains_key("format"), "{path}: an integer without a format");
    }
    if let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() {
        assert_eq!(schema["x-kubernetes-list-type"], "map", "{path}");
        for key in keys {
            let required = schema["items"]["required"].as_array().unwrap();
            assert!(required.contains(key), "{path}: the key {key} of a list must be required");
        }
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        assert!(schema["properties"].get(name).is_some(), "{path}: {name} is required and no field");
        assert!(schema["properties"][name].get("default").is_none(), "{path}: {name} is required and has a default");
    }
    if let Some(default) = fields.get("default") {
        let errors = validity(schema, default);
        assert!(errors.is_empty(), "{path}: the default is not valid: {errors:?}");
    }
    // The cost of a rule is estimated from these bounds.
    if in_spec && of_type("string") && !fields.contains_key("enum") && !is_kubernetes_own(path) {
        assert!(fields.contains_key("maxLength") && fields.contains_key("pattern"), "{path}: a text without bounds");
        assert!(!fields["description"].as_str().unwrap().is_empty());
    }
    if in_spec && of_type("array") {
        assert!(fields.contains_key("maxItems"), "{path}: a list without bound");
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        assert!(field["description"].is_string(), "{path}.{name}: kubectl explain would say nothing");
        walk(field, &format!("{path}.{name}"), in_spec, seen);
    }
    if let Some(items) = fields.get("items") {
        walk(items, &format!("{path}[]"), in_spec, seen);
    }
    if let Some(values) = fields.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), in_spec, seen);
    }
}

/// Fields whose types are Kubernetes' own: their bounds are Kubernetes'.
fn is_kubernetes_own(path: &str) -> bool {
    ["tolerations", "nodeSelector"].iter().any(|own| path.contains(own))
}

fn validity(schema: &Value, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    match schema["type"].as_str() {
        Some("object") => {
            for (key, value) in value.as_object().unwrap() {
                match schema["properties"].get(key) {
                    Some(field) => errors.extend(validity(field, value)),
                    None => errors.push(format!("{key} is no field")),
                }
            }
        }
        Some("array") => value.as_array().unwrap().iter().for_each(|item| errors.extend(validity(&schema["items"], item))),
        Some("string") if !value.is_string() => errors.push(format!("{value} is no text")),
        Some("integer") if !value.is_i64() && !value.is_u64() => errors.push(format!("{value} is no whole number")),
        _ => {}
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        errors.push(format!("{value} is not in {values:?}"));
    }
    errors
}

#[test]
fn structural() {
    for crd in forebay_crds::codegen::crds() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut seen = 0;
        assert_eq!(root["type"], "object");
        assert!(root["properties"].get("metadata").is_none(), "the API server's own schema of metadata is not replaced");
        walk(&root["properties"]["spec"], &format!("{kind}.spec"), true, &mut seen);
        walk(&root["properties"]["status"], &format!("{kind}.status"), false, &mut seen);
        let least = if kind == "CacheRuntimeScale" { 6 } else { 30 };
        assert!(seen > least, "only {seen} nodes of {kind} were looked at");
        let text = crd.to_string();
        assert!(!text.contains("$ref") && !text.contains("\"additionalProperties\":false"));
    }
}

fn patterns(schema: &Value, out: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            out.extend(fields.get("pattern").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| patterns(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| patterns(value, out)),
        _ => {}
    }
}

/// A pattern without a parser would go unchecked in manifest files.
#[test]
fn every_pattern_has_its_parser() {
    let mut all = BTreeSet::new();
    forebay_crds::codegen::crds().iter().for_each(|crd| patterns(crd, &mut all));
    assert!(all.len() > 10);
    for pattern in all {
        assert!(forebay_crds::values::check(&pattern, "").is_some(), "{pattern} belongs to no type");
    }
}

/// Rules see `metadata.name`; nothing else of the metadata is theirs to read.
#[test]
fn the_version_is_served_and_stored() {
    for crd in forebay_crds::codegen::crds() {
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(
            (&versions[0]["name"], &versions[0]["served"], &versions[0]["storage"]),
            (&"v1alpha1".into(), &true.into(), &true.into())
        );
        let group = crd["spec"]["group"].as_str().unwrap();
        assert_eq!(format!("{group}/v1alpha1"), forebay_crds::API_VERSION);
        assert_eq!(group, forebay_crds::GROUP);
        assert_eq!(crd["metadata"]["name"], format!("{}.{group}", crd["spec"]["names"]["plural"].as_str().unwrap()));
    }
}
