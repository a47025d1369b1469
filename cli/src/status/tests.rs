#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use forebay_crds::k8s::Time;
use serde_json::json;

use super::*;

fn dataset(name: &str, status: serde_json::Value) -> Dataset {
    let mut dataset: Dataset = serde_json::from_value(json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
        "metadata": {"name": name, "namespace": "ml", "creationTimestamp": "1970-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl"}]},
        "spec": {"mounts": [{"path": "/", "source": "s3://bucket"}]},
        "status": status
    }))
    .unwrap();
    if let Some(status) = &mut dataset.status {
        status.summarize();
    }
    dataset
}

fn datasets() -> Vec<Dataset> {
    let condition = |status: &str, reason: &str, message: &str| json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "1970-01-01T00:00:00Z"});
    let catalog = json!({"files": 4000, "bytes": 14u64 << 30, "generation": 3});
    let nodes = json!({"ready": 3, "desired": 4});
    let mut prefetching = dataset(
        "imagenet",
        json!({
            "phase": "Prefetching", "catalog": catalog, "nodes": nodes, "cache": {"bytes": 3u64 << 30},
            "conditions": [condition("True", "AsDesired", "not to be shown")],
            "prefetch": {"doneBytes": 3u64 << 30, "totalBytes": 14u64 << 30, "doneFiles": 120, "totalFiles": 4000,
                "bytesPerSecond": 300u64 << 20}
        }),
    );
    prefetching.status.as_mut().unwrap().prefetch.estimated_completion = Some(Time(Timestamp::from_second(338).unwrap()));
    let ready = dataset(
        "ready",
        json!({
            "phase": "Ready", "catalog": catalog, "nodes": nodes, "cache": {"bytes": 14u64 << 30},
            "prefetch": {"doneBytes": 14u64 << 30, "totalBytes": 14u64 << 30, "doneFiles": 4000, "totalFiles": 4000}
        }),
    );
    let new = dataset("new", json!({"conditions": [condition("False", "Listing", "the stores are being\nlisted")]}));
    vec![prefetching, ready, new]
}

#[test]
fn the_table_says_how_far_each_is_and_below_it_what_is_not_well() {
    let expected = "\
NAME       PHASE         FILES   SIZE     CACHED   PREFETCH            NODES   AGE
imagenet   Prefetching   4000    14.0Gi   21%      21%, 300Mi/s, 38s   3/4     5m
ready      Ready         4000    14.0Gi   100%     100%                3/4     5m
new        Pending       -       -        -        -                   0/0     5m

ml/new
  Ready is False (Listing): the stores are being\\nlisted
";
    assert_eq!(text(&datasets(), false, false, Timestamp::from_second(300).unwrap()), expected);
    assert!(text(&datasets(), false, true, Timestamp::UNIX_EPOCH).starts_with("NAMESPACE   NAME"));
}

#[test]
fn of_one_dataset_all_is_told() {
    let shown = text(&datasets()[..1], true, false, Timestamp::from_second(300).unwrap());
    assert!(shown.contains("prefetch   21%: 3.00Gi of 14.0Gi, 120 of 4000 files, 300Mi/s, 38s left"), "{shown}");
}

#[test]
fn json_is_what_kubectl_would_print() {
    let list: serde_json::Value = serde_json::from_str(&json::json(datasets()).unwrap()).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
    let item = &list["items"][0];
    assert_eq!((&item["kind"], &item["status"]["prefetch"]["doneFiles"]), (&"Dataset".into(), &120.into()));
    assert!(item["metadata"].get("managedFields").is_none());
}
