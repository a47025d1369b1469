//! A CacheRuntime: is it accepted, which nodes does it find, do its agents run? Pure.

use std::collections::BTreeMap;

use forebay_crds::CacheRuntime;
use forebay_crds::conditions::reason;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;

use super::observed::Observed;
use super::{Diagnosis, Finding, program, remedy};
use crate::pods;

pub(super) fn look(observed: &Observed, runtime: &CacheRuntime, diagnosis: &mut Diagnosis) {
    let name = runtime.name_any();
    let about = format!("CacheRuntime {name}");
    let status = runtime.status.clone().unwrap_or_default();
    if status.observed_generation < runtime.metadata.generation {
        diagnosis.findings.push(Finding {
            about: about.clone(),
            what: "its newest spec is not taken up yet".to_owned(),
            why: "the operator has not written its status since the spec was changed".to_owned(),
            remedy: remedy::WAIT_FOR_OPERATOR.to_owned(),
        });
    }
    let selected = selected(observed, runtime);
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        // Each such agent is told of below, by its own pod.
        let by_pods = condition.reason == reason::NODES_MISSING && observed.agents(&name).is_some();
        if by_pods {
            continue;
        }
        // What bounds their number by another object, the message names.
        let none = condition.reason == reason::NO_NODES && (status.scaled_by.is_some() || runtime.spec.replicas != Some(0));
        let (why, remedy) = match (&selected, none) {
            (Some(Selected { why, remedy, matching: 0 }), true) => (why.clone(), remedy.clone()),
            _ => (condition.message.clone(), remedy::of_runtime(&condition.reason, &name)),
        };
        diagnosis.findings.push(Finding {
            about: about.clone(),
            what: format!("{} is {} ({})", condition.type_, condition.status, condition.reason),
            why,
            remedy,
        });
    }
    for pod in observed.agents(&name).into_iter().flatten() {
        if !pods::is_ready(pod) && pod.metadata.deletion_timestamp.is_none() {
            let program = format!("the agent of CacheRuntime {name}");
            diagnosis.findings.push(program::not_ready(&program, "nothing is cached on that node", pod));
        }
    }
}

/// The nodes that a CacheRuntime's selector finds, and what to do when there are none.
struct Selected {
    matching: usize,
    why: String,
    remedy: String,
}

fn selected(observed: &Observed, runtime: &CacheRuntime) -> Option<Selected> {
    let nodes = observed.nodes.as_ref()?;
    let selector = &runtime.spec.node_selector;
    let matching = nodes.iter().filter(|node| matches(selector, node)).count();
    let words = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let near: Vec<String> = selector
        .keys()
        .flat_map(|key| {
            nodes.iter().filter_map(move |node| Some(format!("{} has {key}={}", node.name_any(), node.labels().get(key)?)))
        })
        .take(5)
        .collect();
    let near = if near.is_empty() { "no node has such a label".to_owned() } else { near.join(", ") };
    Some(Selected {
        matching,
        why: format!("spec.nodeSelector asks for {words}, and {near}"),
        remedy: format!(
            "label nodes: `kubectl label node NODE {}`; or correct spec.nodeSelector of the CacheRuntime",
            words.replace(',', " ")
        ),
    })
}

/// Whether a node has all the labels.
pub(super) fn matches(selector: &BTreeMap<String, String>, node: &Node) -> bool {
    selector.iter().all(|(key, value)| node.labels().get(key) == Some(value))
}
