//! Which Datasets a pod mounts.
//!
//! What its manifest says is pure; what stands behind a claim, [`Resolver`] looks up.

mod resolve;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::dataset::usage::named;
use crate::names;

pub(crate) use resolve::Resolver;

/// Volumes of a pod that are looked at; more of ours than these no pod has.
const MOST: usize = 32;

/// A Dataset by what a pod says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mounted {
    /// By a claim of the pod's namespace, which may be anybody's.
    Claim(String),
    /// By a claim that is made with the pod, of this StorageClass.
    Class(String),
    /// Inline, by namespace and name.
    Inline(String, String),
}

/// What a pod of `namespace` mounts that may be ours, each once.
fn mounted(pod: &Pod, namespace: &str) -> BTreeSet<Mounted> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter_map(|volume| {
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(Mounted::Claim(claim.claim_name.clone()));
        }
        if let Some(template) = volume.ephemeral.as_ref().and_then(|ephemeral| ephemeral.volume_claim_template.as_ref()) {
            return class_of(&template.spec).map(Mounted::Class);
        }
        let csi = volume.csi.as_ref().filter(|csi| csi.driver == names::DRIVER)?;
        let attributes = csi.volume_attributes.as_ref()?;
        let attribute = |key: &str| attributes.get(key).map(String::as_str);
        let (namespace, name) = named(attribute("dataset")?, attribute("namespace"), namespace)?;
        Some(Mounted::Inline(namespace, name))
    });
    mounted.take(MOST).collect()
}

/// The StorageClass that a claim names.
fn class_of(claim: &PersistentVolumeClaimSpec) -> Option<String> {
    claim.storage_class_name.clone().filter(|name| !name.is_empty())
}

/// The Dataset, by namespace and name, of the volumes that are made for claims of `namespace` in a StorageClass of ours. `None`:
/// it is another driver's, or its parameters say nothing of use.
fn of_class(class: &StorageClass, namespace: &str) -> Option<(String, String)> {
    if class.provisioner != names::DRIVER {
        return None;
    }
    let parameters = class.parameters.as_ref()?;
    named(parameters.get("dataset")?, parameters.get("namespace").map(String::as_str), namespace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn claims_and_our_inline_volumes_are_found_each_once() {
        let inline =
            |attributes: Value| json!({"name": "v", "csi": {"driver": "csi.forebay.io", "volumeAttributes": attributes}});
        let ephemeral = |spec: Value| json!({"name": "w", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}});
        let pod = pod(json!({"containers": [], "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "emptyDir": {}},
            {"name": "e", "csi": {"driver": "csi.example", "volumeAttributes": {"dataset": "x"}}},
            inline(json!({"dataset": "i"})), inline(json!({"dataset": "other/i"})), inline(json!({})),
            ephemeral(json!({"storageClassName": "s"})), ephemeral(json!({})),
        ]}));
        let inline = |namespace: &str, name: &str| Mounted::Inline(namespace.into(), name.into());
        let expected = [Mounted::Claim("c".into()), Mounted::Class("s".into()), inline("ml", "i"), inline("other", "i")].into();
        assert_eq!(mounted(&pod, "ml"), expected);
    }

    #[test]
    fn a_class_of_ours_tells_its_dataset_as_the_driver_understands_it() {
        let class = |provisioner: &str, parameters: Value| -> StorageClass {
            serde_json::from_value(json!({"provisioner": provisioner, "parameters": parameters})).unwrap()
        };
        let of = |parameters: Value| of_class(&class("csi.forebay.io", parameters), "ml");
        let found = |namespace: &str, name: &str| Some((namespace.to_owned(), name.to_owned()));
        assert_eq!(of(json!({"dataset": "other/i"})), found("other", "i"));
        assert_eq!(of(json!({"dataset": "i", "namespace": "other"})), found("other", "i"));
        assert_eq!(of(json!({"dataset": "i"})), found("ml", "i"), "the claim's own namespace");
        assert_eq!(of(json!({})), None);
        assert_eq!(of_class(&class("csi.example", json!({"dataset": "i"})), "ml"), None);
    }
}
