#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::sync::Arc;

use forebay_crds::CatalogStatus;
use serde_json::{Value, json};

use super::*;
use crate::dataset::tests::{bucket, observed, with_status};

fn keep(observed: &Observed) -> Keep {
    match plan(observed) {
        Plan::Keep(keep) => keep,
        Plan::End(stage) => panic!("{stage:?}"),
    }
}

fn json_of(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

#[test]
fn the_volume_and_the_claim_are_these() {
    let keep = keep(&observed(bucket()));
    assert_eq!(
        json_of(&keep.volume),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": "forebay-uid-d",
                "labels": {"app.kubernetes.io/managed-by": "forebay-operator", "forebay.io/dataset-uid": "uid-d"}
            },
            "spec": {
                "accessModes": ["ReadOnlyMany"],
                "capacity": {"storage": "1Mi"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "ml", "name": "imagenet"},
                "csi": {
                    "driver": "csi.forebay.io", "readOnly": true, "volumeHandle": "ml/imagenet",
                    "volumeAttributes": {"dataset": "imagenet", "namespace": "ml", "uid": "uid-d"}
                },
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "", "volumeMode": "Filesystem"
            }
        })
    );
    assert_eq!(
        json_of(&keep.claim),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": "imagenet", "namespace": "ml",
                "labels": {"app.kubernetes.io/managed-by": "forebay-operator", "forebay.io/dataset-uid": "uid-d"},
                "ownerReferences": [{
                    "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "name": "imagenet", "uid": "uid-d",
                    "controller": true, "blockOwnerDeletion": true
                }]
            },
            "spec": {
                "accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "",
                "volumeMode": "Filesystem", "volumeName": "forebay-uid-d"
            }
        })
    );
    assert!(!keep.finalizer && !keep.remake_volume && !keep.foreign_claim);
}

#[test]
fn the_volume_has_the_size_of_the_tree() {
    let mut observed = observed(bucket());
    let catalog = CatalogStatus { bytes: (5 << 30) + 1, generation: 1, ..CatalogStatus::default() };
    with_status(&mut observed, DatasetStatus { catalog, ..DatasetStatus::default() });
    let keep = keep(&observed);
    assert_eq!(json_of(&keep.volume)["spec"]["capacity"]["storage"], "5121Mi");
    assert_eq!(json_of(&keep.claim)["spec"]["resources"]["requests"]["storage"], "1Mi", "what a claim requests does not change");
}

#[test]
fn the_finalizer_comes_first() {
    let mut observed = observed(bucket());
    Arc::make_mut(&mut observed.dataset).metadata.finalizers = None;
    assert!(keep(&observed).finalizer);
}

fn claim_of(uid: &str, of: Option<&str>) -> Option<Arc<PersistentVolumeClaim>> {
    let mut claim = PersistentVolumeClaim::default();
    claim.metadata.uid = Some(uid.into());
    claim.metadata.labels = of.map(names::dataset_labels);
    Some(Arc::new(claim))
}

#[test]
fn somebody_elses_claim_is_left_alone() {
    for of in [None, Some("another-dataset")] {
        let observed = Observed { claim: claim_of("c", of), ..observed(bucket()) };
        let keep = keep(&observed);
        assert!(keep.foreign_claim && keep.claim.is_none() && keep.volume.is_none());
    }
}

#[test]
fn a_volume_whose_claim_was_deleted_is_made_anew() {
    let bound = |to: Option<&str>, claim| {
        let mut volume = PersistentVolume::default();
        let claim_ref = ObjectReference { uid: to.map(str::to_owned), ..ObjectReference::default() };
        volume.spec = Some(PersistentVolumeSpec { claim_ref: Some(claim_ref), ..PersistentVolumeSpec::default() });
        let observed = Observed { volume: Some(Arc::new(volume)), claim, ..observed(bucket()) };
        keep(&observed).remake_volume
    };
    assert!(!bound(None, None), "not bound yet");
    assert!(!bound(Some("c"), claim_of("c", Some("uid-d"))));
    assert!(bound(Some("c"), None));
    assert!(bound(Some("c"), claim_of("d", Some("uid-d"))));
}
