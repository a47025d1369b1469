#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

//! What the tests of the Dataset controller begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_crds::manifest::{Redacted, SecretData};
use forebay_crds::{CacheRuntime, Dataset, DatasetStatus};
use serde_json::{Value, json};

use super::observe::Observed;
use crate::agents::standing::Standing;
use crate::agents::standing::tests::standing;
use crate::secrets::SecretState;

pub(super) fn dataset(spec: Value) -> Dataset {
    let dataset = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
        "metadata": {
            "name": "imagenet", "namespace": "ml", "uid": "uid-d", "generation": 2, "finalizers": ["forebay.io/cleanup"]
        },
        "spec": spec
    });
    serde_json::from_value(dataset).unwrap()
}

pub(super) fn runtime(spec: Value) -> CacheRuntime {
    let runtime = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": "default", "uid": "uid-r"}, "spec": spec
    });
    serde_json::from_value(runtime).unwrap()
}

pub(super) fn bucket() -> Value {
    json!({"mounts": [{"path": "/", "source": "s3://bucket", "secretRef": {"name": "obs"}}]})
}

pub(super) fn credentials() -> SecretState {
    let entry = |key: &str| (key.to_owned(), Redacted::new("x"));
    let entries = BTreeMap::from([entry("accessKeyId"), entry("secretAccessKey")]);
    SecretState::Found(Arc::new(SecretData::new("ml", "obs", entries)))
}

/// One Dataset over a bucket, whose runtime has one node, n1, that says nothing yet.
pub(super) fn observed(spec: Value) -> Observed {
    let tiers = json!({"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}], "allowedHostPaths": ["/data"]});
    Observed {
        dataset: Arc::new(dataset(spec)),
        namespace: "ml".into(),
        uid: "uid-d".into(),
        runtime: Some(Arc::new(runtime(tiers))),
        secrets: BTreeMap::from([("obs".to_owned(), credentials())]),
        volume: None,
        claim: None,
        nodes: Arc::new(BTreeSet::from(["n1".to_owned()])),
        chosen: true,
        reports: BTreeMap::new(),
        settling: false,
        first_use: None,
        ending: None,
    }
}

pub(super) fn reports(status: DatasetStatus) -> BTreeMap<Arc<str>, Standing> {
    BTreeMap::from([("n1".into(), standing(status))])
}

/// The Dataset with a status.
pub(super) fn with_status(observed: &mut Observed, status: DatasetStatus) {
    Arc::make_mut(&mut observed.dataset).status = Some(status);
}
