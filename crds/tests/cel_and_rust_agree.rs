//! Every CEL rule of the checked-in CustomResourceDefinitions is evaluated here, on an object that it accepts and one
//! that it refuses; and the rule's twin in Rust says the same.
//!
//! The evaluator is kube-cel's. Left to a real API server: its static type check and cost estimate of each rule, and
//! that it pairs tiers by name when it evaluates rules over updates.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use forebay_crds::rules::Ruled as _;
use forebay_crds::values::{ByteSize, Glob};
use forebay_crds::{
    CacheRuntimeScaleSpec, CacheRuntimeSpec, DatasetSpec, validate, validate::validate_runtime_update, validate_runtime,
};
use kube_cel::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

static DATASET: LazyLock<Value> = LazyLock::new(|| read("dataset.yaml"));
static RUNTIME: LazyLock<Value> = LazyLock::new(|| read("cacheruntime.yaml"));
static SCALE: LazyLock<Value> = LazyLock::new(|| read("cacheruntimescale.yaml"));

fn read(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let crd: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Messages of the rules that `object` breaks.
fn broken(schema: &Value, object: &Value, old: Option<&Value>) -> BTreeSet<String> {
    match Validator::new().validate(schema, object, old) {
        Ok(()) => BTreeSet::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| {
                assert_eq!(error.kind, kube_cel::ErrorKind::ValidationFailure, "{}: {}", error.rule, error.message);
                error.message
            })
            .collect(),
    }
}

/// All rules in `schema`.
fn rules(schema: &Value, out: &mut Vec<Value>) {
    match schema {
        Value::Object(fields) => {
            if let Some(found) = fields.get("x-kubernetes-validations") {
                out.extend(found.as_array().unwrap().iter().cloned());
            }
            fields.values().for_each(|value| rules(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| rules(value, out)),
        _ => {}
    }
}

fn dataset(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "metadata": { "name": "d" },
        "spec": { "mounts": [{ "path": "/", "source": "s3://bucket/prefix" }] }
    });
    change(&mut object);
    object
}

fn runtime(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({
        "metadata": { "name": "r" },
        "spec": { "tiers": [
            { "name": "ram", "medium": "Memory", "capacity": "64Gi" },
            { "name": "ssd", "medium": "Disk", "path": "/var/lib/forebay", "capacity": "800Gi", "reserve": "5%" }
        ] }
    });
    change(&mut object);
    object
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut at = object;
    for step in parent.split('/').skip(1) {
        at = match at {
            Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            other => &mut other[step],
        };
    }
    match at {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        other => other[key] = value,
    }
}

/// Each row: fields set in a valid Dataset, and words of the message of the one rule that it then breaks; none: valid.
fn dataset_rows() -> Vec<(Vec<(&'static str, Value)>, &'static str)> {
    let options = |value: Value| ("/spec/mounts/0/options", value);
    let source = |text: &str| ("/spec/mounts/0/source", json!(text));
    let secret = || ("/spec/mounts/0/secretRef", json!({ "name": "obs" }));
    let consistency = |value: Value| vec![("/spec/consistency", value)];

    vec![
        (vec![], ""),
        (vec![("/metadata/name", json!("n".repeat(63)))], ""),
        (vec![("/metadata/name", json!("n".repeat(64)))], "longer than 63 characters"),
        (vec![("/spec/access", json!("ReadOnly"))], ""),
        (vec![("/spec/access", json!("ReadWrite"))], "set access: ReadOnly"),
        (vec![("/spec/warmBeforeScheduling", json!(true))], "warmBeforeScheduling has no effect"),
        (vec![("/spec/warmBeforeScheduling", json!(true)), ("/spec/pin", json!({ "paths": [] }))], "warmBeforeScheduling has no"),
        (vec![("/spec/warmBeforeScheduling", json!(true)), ("/spec/pin", json!({ "paths": ["/"] }))], ""),
        (vec![("/spec/warmBeforeScheduling", json!(true)), ("/spec/prefetch", json!({ "policy": "Eager" }))], ""),
        (vec![secret()], ""),
        (vec![secret(), options(json!({ "anonymous": false }))], ""),
        (vec![secret(), options(json!({ "anonymous": true }))], "secretRef and options.anonymous contradict"),
        (vec![secret(), options(json!({ "profile": "p" }))], "keep secretRef, or the file and profile"),
        (vec![secret(), options(json!({ "credentialsFile": "/c" }))], "keep secretRef, or the file and profile"),
        (vec![secret(), source("https://h/")], ""),
        (vec![secret(), source("/data")], "a directory takes no credentials"),
        (vec![secret(), source("file:///data")], "a directory takes no credentials"),
        (vec![options(json!({ "endpoint": "https://e", "region": "r", "addressing": "Path" }))], ""),
        (vec![options(json!({ "credentialsFile": "/c", "profile": "p" }))], ""),
        (vec![options(json!({ "endpoint": "https://e" })), source("/data")], "for s3:// sources only"),
        (vec![options(json!({ "region": "r" })), source("https://h/")], "for s3:// sources only"),
        (vec![options(json!({ "addressing": "Virtual" })), source("/data")], "for s3:// sources only"),
        (vec![options(json!({ "anonymous": true })), source("/data")], "for s3:// sources only"),
        (vec![options(json!({ "credentialsFile": "/c" })), source("/data")], "for s3:// sources only"),
        (vec![options(json!({ "profile": "p" })), source("/data")], "for s3:// sources only"),
        (vec![options(json!({ "index": "i" })), source("http://h/")], ""),
        (vec![options(json!({ "index": "i" }))], "for http:// and https:// sources only"),
        (vec![options(json!({ "headers": [{ "name": "X-A", "value": "" }] })), source("http://h/")], ""),
        (
            vec![options(json!({ "headers": [{ "name": "X-A", "value": "" }] })), source("/d")],
            "for http:// and https:// sources only",
        ),
        (vec![options(json!({ "headers": [] }))], ""),
        (
            vec![options(json!({ "headers": [{ "name": "AUTHORIZATION", "value": "x" }] })), source("http://h/")],
            "this header carries credentials",
        ),
        (
            vec![options(json!({ "headers": [{ "name": "cookie", "value": "x" }] })), source("http://h/")],
            "this header carries credentials",
        ),
        (
            vec![options(json!({ "headers": [{ "name": "Range", "value": "bytes=0-1" }] })), source("http://h/")],
            "the requests have their own value of this header",
        ),
        (vec![options(json!({ "anonymous": true }))], ""),
        (vec![options(json!({ "anonymous": true, "profile": "p" }))], "anonymous and credentialsFile or profile"),
        (vec![options(json!({ "anonymous": true, "credentialsFile": "/c" }))], "anonymous and credentialsFile or profile"),
        (vec![options(json!({ "requestTimeout": "1ms" }))], ""),
        (vec![options(json!({ "requestTimeout": "0s" }))], "requestTimeout is no time at all"),
        (vec![options(json!({ "requestTimeout": "0h00m0s" }))], "requestTimeout is no time at all"),
        (vec![options(json!({ "bandwidth": "100Mi" }))], ""),
        (vec![options(json!({ "bandwidth": 65536 }))], ""),
        (vec![options(json!({ "bandwidth": 65535 }))], "bandwidth is below 64Ki"),
        (vec![options(json!({ "bandwidth": "65k" }))], "bandwidth is below 64Ki"),
        (consistency(json!({})), ""),
        (consistency(json!({ "policy": "Validate" })), ""),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "10m" })), ""),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "1s" })), ""),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "1000ms" })), ""),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "0m1s0ms" })), ""),
        (consistency(json!({ "policy": "MaxAge" })), "MaxAge needs maxAge"),
        (consistency(json!({ "maxAge": "10m" })), "maxAge has no effect"),
        (consistency(json!({ "policy": "Validate", "maxAge": "10m" })), "maxAge has no effect"),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "0s" })), "maxAge is below one second"),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "999ms" })), "maxAge is below one second"),
        (consistency(json!({ "policy": "MaxAge", "maxAge": "0h0s00999ms" })), "maxAge is below one second"),
        (consistency(json!({ "refresh": "NewPods" })), ""),
        (consistency(json!({ "policy": "Validate", "refresh": "AtOnce" })), ""),
        (consistency(json!({ "policy": "Validate", "refresh": "NewPods" })), "needs a tree that stays as it was listed"),
        (vec![("/spec/prefetch", json!({ "policy": "Eager", "paths": ["/a"], "tier": "ram" }))], ""),
        (vec![("/spec/prefetch", json!({ "paths": ["/"] }))], ""),
        (vec![("/spec/prefetch", json!({ "paths": ["/a"] }))], "paths has no effect"),
        (vec![("/spec/prefetch", json!({ "policy": "OnDemand", "tier": "ram" }))], "tier has no effect"),
        (vec![("/spec/placement", json!({ "policy": "Sharded", "replicas": 2 }))], ""),
        (vec![("/spec/placement", json!({ "policy": "Sharded" }))], ""),
        (vec![("/spec/placement", json!({ "replicas": 2 }))], "replicas has no effect"),
    ]
}

fn runtime_rows() -> Vec<(Vec<(&'static str, Value)>, &'static str)> {
    let path = |text: &str| vec![("/spec/tiers/1/path", json!(text))];
    let third = |text: &str| vec![("/spec/tiers/0", json!({ "name": "hdd", "medium": "Disk", "path": text, "capacity": "1Ti" }))];
    vec![
        (vec![], ""),
        (vec![("/metadata/name", json!("n".repeat(64)))], "longer than 63 characters"),
        (vec![("/spec/warmUp", json!({ "timeout": "1s", "nodeCondition": true }))], ""),
        (vec![("/spec/warmUp", json!({ "timeout": "1h30m" }))], ""),
        (vec![("/spec/warmUp", json!({ "timeout": "0m" }))], "timeout is below one second"),
        (vec![("/spec/warmUp", json!({ "timeout": "999ms" }))], "timeout is below one second"),
        (vec![("/spec/peers", json!({}))], ""),
        (vec![("/spec/peers", json!({ "bandwidth": "2Gi" }))], ""),
        (vec![("/spec/peers", json!({ "bandwidth": "8Mi" }))], ""),
        (vec![("/spec/peers", json!({ "bandwidth": 8_388_608 }))], ""),
        (vec![("/spec/peers", json!({ "bandwidth": 8_388_607 }))], "bandwidth is below 8Mi"),
        (vec![("/spec/peers", json!({ "bandwidth": "8M" }))], "bandwidth is below 8Mi"),
        (vec![("/spec/peers", json!({ "bandwidth": "0" }))], "bandwidth is below 8Mi"),
        (vec![("/spec/tiers/0/path", json!("/mnt/x"))], "Memory takes no path"),
        (vec![("/spec/tiers/0/medium", json!("Disk"))], "Disk needs a path"),
        (path("/dev/shm/forebay"), ""),
        (path("/etcetera"), ""),
        (path("/var/lib/kubelet2"), ""),
        (path("/etc"), "directory of the operating system"),
        (path("/usr/share/x"), "directory of the operating system"),
        (path("/proc/1"), "directory of the operating system"),
        (path("/dev/shmem"), "directory of the operating system"),
        (path("/var/lib/kubelet/pods"), "directory of the operating system"),
        (third("/var/lib/forebay2"), ""),
        (third("/var/lib/forebay"), "lies in the path of another"),
        (third("/var/lib/forebay/in"), "lies in the path of another"),
        (third("/var/lib"), "lies in the path of another"),
        (vec![("/spec/tiers/0/capacity", json!(64))], "capacity is below 16Mi"),
        (vec![("/spec/tiers/0/capacity", json!("64"))], "capacity is below 16Mi"),
        (vec![("/spec/tiers/0/capacity", json!("16777215"))], "capacity is below 16Mi"),
        (vec![("/spec/tiers/0/capacity", json!("16Mi"))], ""),
        (vec![("/spec/tiers/0/capacity", json!(16_777_216))], ""),
        (vec![("/spec/tiers/0/capacity", json!("0.5Gi"))], ""),
    ]
}

fn run(
    schema: &Value,
    base: fn() -> Value,
    rows: Vec<(Vec<(&'static str, Value)>, &'static str)>,
    in_rust: impl Fn(&Value) -> BTreeSet<String>,
) -> BTreeSet<String> {
    let mut refused_by = BTreeSet::new();
    for (changes, words) in rows {
        let mut object = base();
        for (pointer, value) in &changes {
            set(&mut object, pointer, value.clone());
        }
        let by_cel = broken(schema, &object, None);
        assert_eq!(by_cel.len(), usize::from(!words.is_empty()), "{changes:?}: {by_cel:?}");
        assert!(by_cel.iter().all(|message| message.contains(words)), "{changes:?}: {by_cel:?} does not say {words:?}");
        // The rule on the name is the root's; manifests check it with the rest of the metadata.
        if !words.contains("characters") {
            assert_eq!(in_rust(&object), by_cel, "{changes:?}: Rust and CEL differ");
        }
        refused_by.extend(by_cel);
    }
    refused_by
}

fn dataset_in_rust(object: &Value) -> BTreeSet<String> {
    let spec: DatasetSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    validate(&spec).into_iter().map(|error| format!("{}; {}", error.problem, error.remedy)).collect()
}

fn runtime_in_rust(object: &Value) -> BTreeSet<String> {
    let spec: CacheRuntimeSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    validate_runtime(&spec).into_iter().map(|error| format!("{}; {}", error.problem, error.remedy)).collect()
}

/// What a rule says when it fails; rules over updates apart.
fn messages(schema: &Value, of_updates: bool) -> BTreeSet<String> {
    let mut all = Vec::new();
    rules(schema, &mut all);
    all.iter()
        .filter(|rule| rule["rule"].as_str().unwrap().contains("oldSelf") == of_updates)
        .map(|rule| rule["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn dataset_rules_accept_and_refuse() {
    let schema = &*DATASET;
    let refused_by = run(schema, || dataset(|_| {}), dataset_rows(), dataset_in_rust);
    assert_eq!(refused_by, messages(schema, false), "a rule that no row breaks is not tested");
    assert_eq!(messages(schema, true), BTreeSet::new());
}

#[test]
fn runtime_rules_accept_and_refuse() {
    let schema = &*RUNTIME;
    let refused_by = run(schema, || runtime(|_| {}), runtime_rows(), runtime_in_rust);
    assert_eq!(refused_by, messages(schema, false), "a rule that no row breaks is not tested");
}

#[test]
fn tiers_keep_their_place() {
    let schema = &*RUNTIME;
    let tier = &schema["properties"]["spec"]["properties"]["tiers"]["items"];
    let disk = json!({ "name": "t", "medium": "Disk", "path": "/a", "capacity": "1Gi" });
    let memory = json!({ "name": "t", "medium": "Memory", "capacity": "1Gi" });
    let with = |field: &str, value: &str| {
        let mut tier = disk.clone();
        tier[field] = json!(value);
        tier
    };
    let mut refused_by = BTreeSet::new();
    for (old, new, broken_rules) in [
        (&disk, disk.clone(), 0),
        (&disk, with("capacity", "2Gi"), 0),
        (&disk, with("path", "/b"), 1),
        (&disk, memory.clone(), 2),
        (&memory, disk.clone(), 2),
        (&memory, memory.clone(), 0),
    ] {
        let by_cel = broken(tier, &new, Some(old));
        let spec = |tier: &Value| serde_json::from_value::<CacheRuntimeSpec>(json!({ "tiers": [tier] })).unwrap();
        let in_rust: BTreeSet<String> = validate_runtime_update(&spec(old), &spec(&new))
            .into_iter()
            .map(|error| format!("{}; {}", error.problem, error.remedy))
            .collect();
        assert_eq!(by_cel, in_rust, "{old} -> {new}");
        assert_eq!(by_cel.len(), broken_rules, "{old} -> {new}");
        refused_by.extend(by_cel);
    }
    assert_eq!(refused_by, messages(schema, true));
}

#[test]
fn a_scale_keeps_its_runtime() {
    let schema = &SCALE["properties"]["spec"];
    let spec = |runtime: &str, replicas: u32| json!({ "runtime": runtime, "replicas": replicas });
    let typed = |spec: &Value| serde_json::from_value::<CacheRuntimeScaleSpec>(spec.clone()).unwrap();
    let mut refused_by = BTreeSet::new();
    for (new, refused) in [(spec("a", 1), false), (spec("a", 0), false), (spec("b", 1), true)] {
        let old = spec("a", 1);
        let by_cel = broken(schema, &new, Some(&old));
        let rules = CacheRuntimeScaleSpec::TRANSITIONS.iter().filter(|rule| !(rule.holds)(&typed(&old), &typed(&new)));
        let in_rust: BTreeSet<String> = rules.map(|rule| format!("{}; {}", rule.problem, rule.remedy)).collect();
        assert_eq!(by_cel, in_rust, "{new}");
        assert_eq!(!by_cel.is_empty(), refused, "{new}");
        refused_by.extend(by_cel);
    }
    assert_eq!(refused_by, messages(&SCALE, true));
}

/// Messages say what to do and rules name fields that exist.
#[test]
fn rules_are_well_formed() {
    check_rules(&DATASET);
    check_rules(&RUNTIME);
    check_rules(&SCALE);
    fn check_rules(schema: &Value) {
        let Value::Object(fields) = schema else { return };
        for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule["message"].as_str().unwrap();
            assert!(message.contains("; ") && !message.contains('\n') && message.len() <= 512, "{message}");
            assert!(!rule["rule"].as_str().unwrap().contains('\n'));
            if let Some(path) = rule["fieldPath"].as_str() {
                assert!(schema["properties"].get(&path[1..]).is_some(), "{path} is not a field");
            }
            let compiled = kube_cel::compile_schema(schema);
            let warnings = kube_cel::estimate_rule_cost(rule["rule"].as_str().unwrap(), &compiled);
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        fields.values().for_each(check_rules);
    }
}

fn spans() -> impl Strategy<Value = String> {
    ("([0-2]{1,2}d)?([0-2]{1,2}h)?([0-2]{1,2}m)?([0-2]{1,2}s)?([0-2]{1,5}ms)?")
        .prop_filter("not empty", |text: &String| text.len() >= 2)
}

proptest! {
    /// The rules that read numbers out of texts say the same as the numbers do.
    #[test]
    fn rules_over_texts_agree(max_age in spans(), timeout in spans(), bandwidth in "[0-9]{1,6}(\\.[0-9]{1,2})?(k|Ki)?") {
        let object = dataset(|object| {
            set(object, "/spec/consistency", json!({ "policy": "MaxAge", "maxAge": max_age }));
            set(object, "/spec/mounts/0/options", json!({ "requestTimeout": timeout, "bandwidth": bandwidth }));
        });
        let schema = &*DATASET;
        prop_assert_eq!(broken(schema, &object, None), dataset_in_rust(&object));
    }

    /// As do those over paths.
    #[test]
    fn rules_over_paths_agree(a in "(/dev/shm|/dev|/etc|/usr|/data|/data/a)(/x|x)?", b in "(/data|/data/a|/run)(/x)?") {
        let object = runtime(|object| {
            set(object, "/spec/tiers/1/path", json!(a));
            set(object, "/spec/tiers/0", json!({ "name": "b", "medium": "Disk", "path": b, "capacity": "1Gi" }));
        });
        let schema = &*RUNTIME;
        prop_assert_eq!(broken(schema, &object, None), runtime_in_rust(&object));
    }
}

/// A spec that was built and not read is held to the schema's bounds too.
#[test]
fn validate_knows_the_schemas_bounds() {
    let fields = |spec: &DatasetSpec| validate(spec).iter().map(|error| error.path.to_string()).collect::<Vec<_>>();
    let mut spec: DatasetSpec = serde_json::from_value(dataset(|_| {})["spec"].clone()).unwrap();
    assert_eq!(fields(&spec), Vec::<String>::new());
    spec.mounts.push(spec.mounts[0].clone());
    spec.mounts[1].options.retries = 21;
    spec.mounts[1].include = vec!["*".parse::<Glob>().unwrap(); 129];
    spec.quota = Some(ByteSize::from_bytes(5));
    assert_eq!(fields(&spec), ["mounts[1].include", "mounts[1].options.retries", "mounts[1].path"]);
    spec.mounts.clear();
    assert_eq!(fields(&spec), ["mounts"]);
}
