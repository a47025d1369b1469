//! A default is written once: what Rust fills in is what the API server fills in.

use forebay_crds::{CacheRuntimeSpec, DatasetSpec};
use serde_json::{Value, json};

/// What the API server makes of `value`: defaults of absent fields, from the outside in.
fn with_defaults(schema: &Value, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = schema["properties"].as_object()
        && let Value::Object(map) = &mut value
    {
        for (name, field) in fields {
            if let Some(default) = field.get("default") {
                map.entry(name.clone()).or_insert_with(|| default.clone());
            }
            if let Some(inner) = map.get(name) {
                map[name] = with_defaults(field, inner);
            }
        }
    }
    if let Value::Array(items) = &mut value {
        for item in items {
            *item = with_defaults(&schema["items"], item);
        }
    }
    value
}

fn spec_schema(index: usize) -> Value {
    forebay_crds::codegen::crds()[index]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn a_minimal_dataset() {
    let written = json!({ "mounts": [{ "path": "/", "source": "/data" }] });
    let by_server = with_defaults(&spec_schema(0), &written);
    let by_rust: DatasetSpec = serde_json::from_value(written).unwrap();
    assert_eq!(serde_json::to_value(&by_rust).unwrap(), by_server);
    assert_eq!(by_rust, DatasetSpec::of(by_rust.mounts.clone()));
    // The values themselves, so that nobody changes them by the way.
    assert_eq!(
        by_server,
        json!({
            "runtime": "default",
            "mounts": [{
                "path": "/",
                "source": "/data",
                "options": { "anonymous": false, "requestTimeout": "30s", "concurrency": 64, "retries": 5 }
            }],
            "access": "ReadOnly",
            "owner": { "fileMode": "0444", "dirMode": "0555" },
            "consistency": { "policy": "Snapshot", "refresh": "AtOnce" },
            "prefetch": { "policy": "OnDemand", "paths": ["/"], "order": "Path", "concurrency": 16 },
            "pin": {},
            "placement": { "policy": "EveryNode" },
            "warmBeforeScheduling": false,
        })
    );
}

#[test]
fn objects_that_are_written_in_part() {
    let written = json!({
        "mounts": [{ "path": "/", "source": "/data", "options": { "retries": 1 } }, { "path": "/b", "source": "/b", "options": {} }],
        "owner": { "uid": 7 },
        "consistency": { "maxAge": "1m" },
        "prefetch": { "tier": "ram" },
        "pin": { "paths": ["/a"] },
        "placement": { "replicas": 3 },
    });
    let by_server = with_defaults(&spec_schema(0), &written);
    let by_rust: DatasetSpec = serde_json::from_value(written).unwrap();
    assert_eq!(serde_json::to_value(by_rust).unwrap(), by_server);
}

#[test]
fn a_minimal_runtime() {
    let written = json!({ "tiers": [{ "name": "a", "medium": "Disk", "path": "/data", "capacity": "1Gi" }] });
    let by_server = with_defaults(&spec_schema(1), &written);
    let by_rust: CacheRuntimeSpec = serde_json::from_value(written).unwrap();
    assert_eq!(serde_json::to_value(by_rust).unwrap(), by_server);
    assert_eq!(by_server["tiers"][0]["reserve"], "10%");
    assert_eq!(by_server["warmUp"], json!({ "timeout": "10m", "nodeCondition": false }));
    assert_eq!(by_server["peers"], json!({}));
}
