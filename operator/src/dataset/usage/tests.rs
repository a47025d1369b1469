#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use serde_json::{Value, json};

use super::*;

fn volume(claim: &str, csi: Value) -> PersistentVolume {
    let spec = json!({"claimRef": {"namespace": "ml", "name": claim}, "csi": csi});
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {}, "spec": spec})).unwrap()
}

fn pod(namespace: &str, name: &str, node: &str, phase: &str, volume: Value) -> Pod {
    let mut volume = volume;
    volume["name"] = "v".into();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name},
        "spec": {"nodeName": node, "containers": [], "volumes": [volume]}, "status": {"phase": phase}
    });
    serde_json::from_value(pod).unwrap()
}

fn claim(name: &str) -> Value {
    json!({"persistentVolumeClaim": {"claimName": name}})
}

fn inline(driver: &str, attributes: Value) -> Value {
    json!({"csi": {"driver": driver, "volumeAttributes": attributes}})
}

fn users(pods: &[Pod]) -> Vec<String> {
    let ours = |attributes| json!({"driver": "csi.forebay.io", "volumeHandle": "ml/imagenet", "volumeAttributes": attributes});
    let volumes = [
        volume("imagenet", ours(json!({"dataset": "imagenet", "namespace": "ml"}))),
        volume("by-hand", ours(json!({}))),
        volume("other", json!({"driver": "csi.forebay.io", "volumeHandle": "ml/other"})),
        volume("foreign", json!({"driver": "csi.example", "volumeHandle": "ml/imagenet"})),
    ];
    let look = look(&volumes, pods);
    look.get(&("ml".into(), "imagenet".into())).into_iter().flatten().map(User::to_string).collect()
}

#[test]
fn every_way_to_use_a_dataset_counts() {
    let pods = [
        pod("ml", "by-claim", "n1", "Running", claim("imagenet")),
        pod("ml", "by-hand", "n1", "Pending", claim("by-hand")),
        pod("ml", "inline", "n1", "Running", inline("csi.forebay.io", json!({"dataset": "imagenet"}))),
        pod("research", "granted", "n1", "Running", inline("csi.forebay.io", json!({"dataset": "ml/imagenet"}))),
        pod("research", "named", "n1", "Running", inline("csi.forebay.io", json!({"dataset": "imagenet", "namespace": "ml"}))),
    ];
    assert_eq!(users(&pods), ["ml/by-claim", "ml/by-hand", "ml/inline", "research/granted", "research/named"]);
}

#[test]
fn who_has_no_volume_of_it_does_not_count() {
    let pods = [
        pod("ml", "ended", "n1", "Succeeded", claim("imagenet")),
        pod("ml", "failed", "n1", "Failed", claim("imagenet")),
        pod("ml", "on-no-node", "", "Pending", claim("imagenet")),
        pod("research", "same-claim-name", "n1", "Running", claim("imagenet")),
        pod("research", "same-dataset-name", "n1", "Running", inline("csi.forebay.io", json!({"dataset": "imagenet"}))),
        pod("ml", "other-dataset", "n1", "Running", claim("other")),
        pod("ml", "other-driver", "n1", "Running", claim("foreign")),
        pod("ml", "other-inline", "n1", "Running", inline("csi.example", json!({"dataset": "imagenet"}))),
    ];
    assert_eq!(users(&pods), [""; 0]);
}
