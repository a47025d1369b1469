//! What those who look at agents' pods must agree on: pure.

use k8s_openapi::api::core::v1::Pod;

/// The node that a pod is on, or that a DaemonSet's controller made it for while it is on none yet.
pub fn node(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    spec.node_name.as_deref().or_else(|| {
        let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        match terms.as_slice() {
            [term] => term.match_fields.as_ref()?.first()?.values.as_ref()?.first().map(String::as_str),
            _ => None,
        }
    })
}
