#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use super::*;

type Paths = &'static [&'static str];

fn spec(eager: Option<&[&str]>, pins: &[&str]) -> DatasetSpec {
    let mut spec = DatasetSpec::of(Vec::new());
    if let Some(wanted) = eager {
        spec.prefetch.policy = PrefetchPolicy::Eager;
        spec.prefetch.paths = paths(wanted);
    }
    spec.pin.paths = paths(pins);
    spec
}

fn paths(all: &[&str]) -> Vec<TreePath> {
    all.iter().map(|path| path.parse().unwrap()).collect()
}

fn patched(change: &Change, pointer: &str) -> Value {
    change.patch.as_ref().and_then(|patch| patch.pointer(pointer).cloned()).unwrap_or_default()
}

#[test]
fn prefetch_adds_to_what_was_asked_for() {
    let table: [(Option<Paths>, Paths, Value); 6] = [
        (None, &["/a"], json!(["/a"])),
        (Some(&["/a"]), &["/b"], json!(["/a", "/b"])),
        (Some(&["/a"]), &["/a/x", "/a"], Value::Null),
        (Some(&["/"]), &["/b"], Value::Null),
        (Some(&["/a"]), &["/"], json!(["/a", "/"])),
        (None, &["/a", "/a", "/a/b"], json!(["/a"])),
    ];
    for (before, more, expected) in table {
        let change = prefetch(&spec(before, &[]), &paths(more)).unwrap();
        assert_eq!(patched(&change, "/spec/prefetch/paths"), expected, "{before:?} {more:?}");
        let policy = if expected.is_null() { Value::Null } else { json!("Eager") };
        assert_eq!(patched(&change, "/spec/prefetch/policy"), policy);
    }
    let change = prefetch(&spec(Some(&["/a"]), &[]), &paths(&["/b"])).unwrap();
    assert_eq!(change.words, "spec.prefetch: /a, /b is fetched ahead, before it was /a");
}

#[test]
fn prefetch_ends_without_a_change_of_paths() {
    let change = prefetch_nothing(&spec(Some(&["/a"]), &[]));
    assert_eq!(change.patch, Some(json!({"spec": {"prefetch": {"policy": "OnDemand"}}})));
    assert_eq!(prefetch_nothing(&spec(None, &[])).patch, None);
}

#[test]
fn pins_are_added_and_removed() {
    let added = |before: &[&str], more: &[&str]| patched(&pin(&spec(None, before), &paths(more)).unwrap(), "/spec/pin/paths");
    assert_eq!(added(&[], &["/a"]), json!(["/a"]));
    assert_eq!(added(&["/a"], &["/a/b"]), Value::Null);
    let removed = |before: &[&str], less: &[&str]| patched(&unpin(&spec(None, before), &paths(less)).unwrap(), "/spec/pin/paths");
    assert_eq!(removed(&["/a", "/b"], &["/a"]), json!(["/b"]));
    assert_eq!(removed(&["/a"], &["/a"]), json!([]));
    assert_eq!(removed(&["/a"], &["/b"]), Value::Null);
    let part = unpin(&spec(None, &["/a"]), &paths(&["/a/b"])).unwrap_err().to_string();
    assert_eq!(part, "/a/b is pinned as a part of /a: remove /a, and pin those parts of it that are to stay");
}

#[test]
fn a_list_that_would_be_refused_says_what_to_do() {
    let many: Vec<String> = (0..257).map(|n| format!("/{n}")).collect();
    let many = paths(&many.iter().map(String::as_str).collect::<Vec<_>>());
    for error in [prefetch(&spec(None, &[]), &many), pin(&spec(None, &[]), &many)] {
        assert!(error.unwrap_err().to_string().contains("a directory above them"));
    }
}

#[test]
fn what_prefetch_fetches_again_is_known_before_it_is_dropped() {
    let table: [(Option<Paths>, Paths, Paths); 5] = [
        (None, &["/a"], &[]),
        (Some(&["/"]), &["/a"], &["/a"]),
        (Some(&["/a/b"]), &["/a", "/c"], &["/a"]),
        (Some(&["/a"]), &[], &["/"]),
        (Some(&["/a"]), &["/b"], &[]),
    ];
    for (eager, dropped, expected) in table {
        assert_eq!(fetched_again(&spec(eager, &[]), &paths(dropped)), paths(expected), "{eager:?} {dropped:?}");
    }
}

#[test]
fn who_keeps_the_manifest_elsewhere_is_told() {
    let dataset = |metadata: Value| -> Dataset {
        serde_json::from_value(json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": metadata,
            "spec": {"mounts": [{"path": "/", "source": "s3://bucket"}]}
        }))
        .unwrap()
    };
    let apply = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
    let operator = apply("forebay-operator", json!({"f:metadata": {"f:finalizers": {}}}));
    assert_eq!(kept_elsewhere(&dataset(json!({"name": "a", "managedFields": [operator]}))), None);
    let argo = apply("argocd-controller", json!({"f:spec": {"f:mounts": {}}}));
    assert!(
        kept_elsewhere(&dataset(json!({"name": "a", "managedFields": [operator, argo]}))).unwrap().contains("argocd-controller")
    );
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    assert!(kept_elsewhere(&dataset(json!({"name": "a", "annotations": annotations}))).unwrap().contains("kubectl apply"));
}
