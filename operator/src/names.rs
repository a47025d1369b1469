//! Names, labels and annotations: every word by which the operator's objects are found.

use std::collections::BTreeMap;

/// Field manager of all that the operator applies.
pub(crate) const FIELD_MANAGER: &str = "forebay-operator";
/// Finalizer of Datasets and CacheRuntimes.
pub(crate) const FINALIZER: &str = "forebay.io/cleanup";
/// Annotation of a Dataset: any new value asks for a new listing.
pub(crate) const REFRESH: &str = "forebay.io/refresh";
/// Label of agents' pods and DaemonSets: the CacheRuntime's name.
pub(crate) const RUNTIME: &str = "forebay.io/runtime";
/// Label of volumes and claims: the Dataset's uid.
pub(crate) const DATASET_UID: &str = "forebay.io/dataset-uid";
/// Which program a pod is of.
pub(crate) const APP: &str = "app.kubernetes.io/name";
/// `APP` of agents.
pub(crate) const AGENT: &str = "forebay-agent";
/// Who manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The CSI driver.
pub(crate) const DRIVER: &str = "csi.forebay.io";

/// Selects volumes and claims that the operator made.
pub(crate) fn managed_selector() -> String {
    format!("{MANAGED_BY}={FIELD_MANAGER}")
}

/// Selects the pods and the DaemonSet of every runtime.
pub(crate) fn agent_selector() -> String {
    format!("{APP}={AGENT}")
}

/// Selects the pods of one runtime.
pub(crate) fn runtime_selector(runtime: &str) -> String {
    format!("{APP}={AGENT},{RUNTIME}={runtime}")
}

/// The labels of one runtime's pods and DaemonSet.
pub(crate) fn agent_labels(runtime: &str) -> BTreeMap<String, String> {
    [(APP, AGENT), (RUNTIME, runtime)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The labels of one Dataset's volume and claim.
pub(crate) fn dataset_labels(uid: &str) -> BTreeMap<String, String> {
    [(MANAGED_BY, FIELD_MANAGER), (DATASET_UID, uid)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The DaemonSet of a runtime.
pub(crate) fn daemon_set(runtime: &str) -> String {
    format!("{AGENT}-{runtime}")
}

/// The PersistentVolume of a Dataset.
pub(crate) fn volume(dataset_uid: &str) -> String {
    format!("forebay-{dataset_uid}")
}
