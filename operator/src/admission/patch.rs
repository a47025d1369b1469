//! The words that add preferences to a pod: pure.
//!
//! Only what is missing is added, never a field replaced that the pod has: the API server may be newer than the types here, and
//! know fields of an affinity that these do not.

use k8s_openapi::api::core::v1::{Pod, PreferredSchedulingTerm};
use serde_json::{Value, json};

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// A JSON patch that adds `terms` after those that the pod has; empty when there are none.
pub(super) fn patch(pod: &Pod, terms: &[PreferredSchedulingTerm]) -> Value {
    if terms.is_empty() {
        return json!([]);
    }
    let add = |path: &str, value: Value| json!({"op": "add", "path": format!("/spec/affinity{path}"), "value": value});
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let of_nodes = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    match (affinity, of_nodes) {
        (None, _) => json!([add("", json!({"nodeAffinity": {PREFERRED: terms}}))]),
        (Some(_), None) => json!([add("/nodeAffinity", json!({PREFERRED: terms}))]),
        (Some(_), Some(of_nodes)) => match &of_nodes.preferred_during_scheduling_ignored_during_execution {
            None => json!([add(&format!("/nodeAffinity/{PREFERRED}"), json!(terms))]),
            Some(_) => {
                let end = format!("/nodeAffinity/{PREFERRED}/-");
                terms.iter().map(|term| add(&end, json!(term))).collect()
            }
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn pod(affinity: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [], "affinity": affinity}})
    }

    fn term(weight: i32) -> Value {
        json!({"weight": weight, "preference": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}})
    }

    #[test]
    fn preferences_are_added_and_nothing_that_is_there_is_lost() {
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]});
        let key = "requiredDuringSchedulingIgnoredDuringExecution";
        let ours = json!([term(80), term(20)]);
        let table = [
            (json!(null), json!({"nodeAffinity": {PREFERRED: ours}})),
            (json!({"podAffinity": {"new": 1}}), json!({"podAffinity": {"new": 1}, "nodeAffinity": {PREFERRED: ours}})),
            (json!({"nodeAffinity": {key: required}}), json!({"nodeAffinity": {key: required, PREFERRED: ours}})),
            (
                json!({"nodeAffinity": {PREFERRED: [term(1)], "new": 2}}),
                json!({"nodeAffinity": {PREFERRED: [term(1), term(80), term(20)], "new": 2}}),
            ),
        ];
        for (before, after) in table {
            let mut object = pod(before.clone());
            let typed: Pod = serde_json::from_value(object.clone()).unwrap();
            let terms: Vec<PreferredSchedulingTerm> = serde_json::from_value(ours.clone()).unwrap();
            let patch: json_patch::Patch = serde_json::from_value(patch(&typed, &terms)).unwrap();
            json_patch::patch(&mut object, &patch).unwrap();
            assert_eq!(object, pod(after), "{before}");
            assert_eq!(super::patch(&typed, &[]), json!([]));
        }
    }
}
