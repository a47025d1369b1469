//! Names, labels and annotations: every word by which the operator's objects are found.

use std::collections::BTreeMap;

pub(crate) use forebay_crds::names::{AGENT, APP, DATASET_UID, DRIVER, EVICT, REFRESH, RUNTIME, WARMING};

/// Field manager of all that the operator applies.
pub(crate) const FIELD_MANAGER: &str = forebay_crds::names::OPERATOR;
/// Finalizer of Datasets and CacheRuntimes.
pub(crate) const FINALIZER: &str = "forebay.io/cleanup";
/// Who manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

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

/// Label of a node: the name by which pods ask for it.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
/// Label of a node: its zone.
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
