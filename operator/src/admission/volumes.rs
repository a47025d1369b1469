//! Which Datasets a pod mounts: pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use crate::dataset::usage::named;
use crate::names;

/// Volumes of a pod that are looked at; more of ours than these no pod has.
const MOST: usize = 32;

/// A Dataset by what a pod says of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mounted {
    /// By a claim of the pod's namespace, which may be anybody's.
    Claim(String),
    /// Inline, by namespace and name.
    Inline(String, String),
}

/// What a pod of `namespace` mounts that may be ours, each once.
pub(super) fn mounted(pod: &Pod, namespace: &str) -> BTreeSet<Mounted> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter_map(|volume| {
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(Mounted::Claim(claim.claim_name.clone()));
        }
        let csi = volume.csi.as_ref().filter(|csi| csi.driver == names::DRIVER)?;
        let attributes = csi.volume_attributes.as_ref()?;
        let attribute = |key: &str| attributes.get(key).map(String::as_str);
        let (namespace, name) = named(attribute("dataset")?, attribute("namespace"), namespace)?;
        Some(Mounted::Inline(namespace, name))
    });
    mounted.take(MOST).collect()
}

/// Whether the pod's node is settled already, so that no preference matters: as of a DaemonSet's pods.
pub(super) fn is_placed(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref());
    let mut terms = required.into_iter().flat_map(|required| &required.node_selector_terms);
    spec.node_name.as_deref().is_some_and(|name| !name.is_empty()) || terms.any(|term| term.match_fields.is_some())
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
        let pod = pod(json!({"containers": [], "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "emptyDir": {}},
            {"name": "e", "csi": {"driver": "csi.example", "volumeAttributes": {"dataset": "x"}}},
            inline(json!({"dataset": "i"})), inline(json!({"dataset": "other/i"})), inline(json!({})),
        ]}));
        let inline = |namespace: &str, name: &str| Mounted::Inline(namespace.into(), name.into());
        assert_eq!(mounted(&pod, "ml"), [Mounted::Claim("c".into()), inline("ml", "i"), inline("other", "i")].into());
    }

    #[test]
    fn a_pod_whose_node_is_settled_is_left_alone() {
        let required = |term: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
            }}})
        };
        let field = required(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}));
        let label = required(json!({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}));
        assert!(is_placed(&pod(field)) && is_placed(&pod(json!({"containers": [], "nodeName": "n1"}))));
        assert!(!is_placed(&pod(label)) && !is_placed(&pod(json!({"containers": []}))));
    }
}
