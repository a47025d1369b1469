//! Which Dataset a volume is: from its handle and its attributes.

use std::collections::HashMap;

use forebay_api::DatasetName;
use forebay_api::node::is_label;
use serde::Deserialize;

/// Attributes whose names begin so are Kubernetes' own, and new ones may come.
const FOREIGN: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];

/// The attributes of a volume, or the parameters of a StorageClass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VolumeContext {
    /// `name`, or `namespace/name`.
    pub(crate) dataset: Option<String>,
    pub(crate) namespace: Option<String>,
    /// The Dataset's uid, which the operator writes into the volumes that it makes: its own mark, not ours to read.
    #[serde(rename = "uid")]
    _uid: Option<String>,
    /// The pod's namespace, which kubelet adds because CSIDriver says `podInfoOnMount`.
    #[serde(rename = "csi.storage.k8s.io/pod.namespace")]
    pub(crate) pod_namespace: Option<String>,
    #[serde(rename = "csi.storage.k8s.io/ephemeral")]
    ephemeral: Option<String>,
    /// The claim's namespace, which csi-provisioner adds with `--extra-create-metadata`.
    #[serde(rename = "csi.storage.k8s.io/pvc/namespace")]
    claim_namespace: Option<String>,
}

/// Why a volume is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("volume attributes: {0}; known are `dataset` and `namespace`")]
    Attributes(String),
    #[error("no Dataset is named: set the attribute `dataset` to NAME or NAMESPACE/NAME")]
    NoDataset,
    #[error("Dataset {0} is named without its namespace: set `dataset` to NAMESPACE/{0}, or the attribute `namespace`")]
    NoNamespace(String),
    #[error("the Dataset's namespace is given twice: {0} and {1}")]
    TwoNamespaces(String, String),
    #[error("{0:?} is not the name of a Dataset")]
    BadName(String),
}

impl VolumeContext {
    pub(crate) fn parse(attributes: &HashMap<String, String>) -> Result<Self, ContextError> {
        let known = ["pod.namespace", "ephemeral", "pvc/namespace"].map(|name| format!("{}{name}", FOREIGN[0]));
        let ours = attributes
            .iter()
            .filter(|(name, _)| known.contains(name) || !FOREIGN.iter().any(|foreign| name.starts_with(foreign)));
        let object = ours.map(|(name, value)| (name.clone(), serde_json::Value::String(value.clone()))).collect();
        serde_json::from_value(serde_json::Value::Object(object)).map_err(|error| ContextError::Attributes(error.to_string()))
    }

    /// Whether the volume stands in the pod's own manifest.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.ephemeral.as_deref() == Some("true")
    }

    /// The Dataset; without an attribute the volume's handle names it.
    pub(crate) fn dataset(&self, handle: &str) -> Result<DatasetName, ContextError> {
        let (named, name) = match self.dataset.as_deref() {
            Some(dataset) => split(dataset),
            None => match from_handle(handle) {
                Some(DatasetName { namespace, name }) => (Some(namespace), name),
                None => return Err(ContextError::NoDataset),
            },
        };
        let namespace = match (named, self.namespace.clone()) {
            (Some(one), Some(other)) if one != other => return Err(ContextError::TwoNamespaces(one, other)),
            (Some(namespace), _) | (None, Some(namespace)) => Some(namespace),
            (None, None) if self.is_ephemeral() => self.pod_namespace.clone(),
            (None, None) => self.claim_namespace.clone(),
        };
        let namespace = namespace.ok_or_else(|| ContextError::NoNamespace(name.clone()))?;
        for part in [&namespace, &name] {
            if !is_label(part) {
                return Err(ContextError::BadName(part.clone()));
            }
        }
        Ok(DatasetName { namespace, name })
    }
}

fn split(dataset: &str) -> (Option<String>, String) {
    match dataset.split_once('/') {
        Some((namespace, name)) => (Some(namespace.into()), name.into()),
        None => (None, dataset.into()),
    }
}

/// The Dataset of a handle that this driver, or the automatic claim, gave out: `namespace/name`, or `namespace/name/volume`.
pub(crate) fn from_handle(handle: &str) -> Option<DatasetName> {
    let parts: Vec<&str> = handle.split('/').collect();
    match parts[..] {
        [namespace, name] | [namespace, name, _] if is_label(namespace) && is_label(name) => {
            Some(DatasetName::new(namespace, name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    fn dataset(handle: &str, attributes: &[(&str, &str)]) -> Result<String, ContextError> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Ok(VolumeContext::parse(&attributes)?.dataset(handle)?.to_string())
    }

    #[test]
    fn the_volume_that_the_operator_makes_is_understood() {
        let attributes = [("dataset", "imagenet"), ("namespace", "ml"), ("uid", "0455f50a-2602-46ee-9106-8737295087d9")];
        assert_eq!(dataset("ml/imagenet", &attributes).unwrap(), "ml/imagenet");
    }

    #[test]
    fn a_dataset_is_named_in_many_ways() {
        let (pod, inline) = (("csi.storage.k8s.io/pod.namespace", "pods"), ("csi.storage.k8s.io/ephemeral", "true"));
        let claim = ("csi.storage.k8s.io/pvc/namespace", "claims");
        for (handle, attributes, want) in [
            ("ml/x", vec![], "ml/x"),
            ("ml/x/pvc-1", vec![], "ml/x"),
            ("any", vec![("dataset", "ml/x")], "ml/x"),
            ("any", vec![("dataset", "x"), ("namespace", "ml")], "ml/x"),
            ("any", vec![("dataset", "ml/x"), ("namespace", "ml")], "ml/x"),
            ("a/b", vec![("dataset", "ml/x"), pod], "ml/x"),
            ("csi-1", vec![("dataset", "x"), pod, inline], "pods/x"),
            ("csi-1", vec![("dataset", "ml/x"), pod, inline], "ml/x"),
            ("", vec![("dataset", "x"), claim, ("csi.storage.k8s.io/pv/name", "p")], "claims/x"),
            ("ml/x", vec![("storage.kubernetes.io/csiProvisionerIdentity", "1")], "ml/x"),
        ] {
            assert_eq!(dataset(handle, &attributes).unwrap(), want, "{handle} {attributes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let pod = ("csi.storage.k8s.io/pod.namespace", "pods");
        for (handle, attributes, word) in [
            ("any", vec![], "no Dataset is named"),
            ("a/b/c/d", vec![], "no Dataset is named"),
            ("../x", vec![], "no Dataset is named"),
            // The pod's namespace is the Dataset's only where the volume is the pod's own.
            ("any", vec![("dataset", "x"), pod], "NAMESPACE/x"),
            ("any", vec![("dataset", "a/x"), ("namespace", "b")], "given twice"),
            ("any", vec![("dataset", "a/../x")], "\"../x\""),
            ("any", vec![("datset", "a/x")], "datset"),
        ] {
            let error = dataset(handle, &attributes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
