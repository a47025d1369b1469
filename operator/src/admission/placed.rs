//! Whether where a pod runs is settled: pure.

use k8s_openapi::api::core::v1::Pod;

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
