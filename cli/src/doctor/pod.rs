//! A pod that uses Datasets: what keeps its volumes from being mounted. Pure; its Datasets are judged beside it.

use forebay_crds::{CacheRuntime, names};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;

use super::observed::{Key, Observed, PodSeen};
use super::volumes::{Use, uses};
use super::{Diagnosis, Finding, runtime};
use crate::pods;

pub(super) fn look(observed: &Observed, seen: &PodSeen, diagnosis: &mut Diagnosis) {
    let PodSeen { pod, warnings } = seen;
    let about = format!("pod {}", pods::full_name(pod));
    let mut find = |what: String, why: String, remedy: String| {
        diagnosis.findings.push(Finding { about: about.clone(), what, why, remedy });
    };
    let mut used = Vec::new();
    let mut broken = Vec::new();
    for volume in uses(observed, pod) {
        match volume {
            Use::Foreign => {}
            Use::Dataset(dataset) => used.push(dataset),
            Use::Broken(finding) => broken.push(finding),
        }
    }
    if used.is_empty() && broken.is_empty() {
        let remedy = "add a volume: `persistentVolumeClaim: {claimName: DATASET}`, or `csi: {driver: csi.forebay.io, readOnly: true, \
                      volumeAttributes: {dataset: NAME}}`";
        find("it uses no Dataset".to_owned(), "none of its volumes is of Forebay".to_owned(), remedy.to_owned());
        return;
    }
    if let Some(("False", message)) = pods::condition(pod, "PodScheduled") {
        let why = message.unwrap_or("no node takes it").to_owned();
        find(
            "no node takes it".to_owned(),
            why,
            "correct what the message says; Forebay needs no particular node for it".to_owned(),
        );
    }
    let namespace = pod.namespace().unwrap_or_default();
    for dataset in &used {
        for (what, why, remedy) in access(observed, dataset, &namespace) {
            find(what, why, remedy);
        }
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    for (what, why, remedy) in node.map(|node| on_node(observed, &used, node)).unwrap_or_default() {
        find(what, why, remedy);
    }
    // Kubelet's words, where nothing else explains why it waits.
    let waits = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
    if let Some((_, message)) = warnings.iter().find(|(reason, _)| reason == "FailedMount").filter(|_| waits) {
        let remedy = "do as the message says, or as the other findings do; kubelet tries again by itself, in two minutes at most";
        find("kubelet could not mount its volumes".to_owned(), message.clone(), remedy.to_owned());
    }
    diagnosis.findings.extend(broken);
}

type Said = (String, String, String);

/// Whether the pod may use a Dataset that is there.
fn access(observed: &Observed, at: &Key, namespace: &str) -> Vec<Said> {
    let (own, name) = at;
    let Some(dataset) = observed.known(at) else {
        let same: Vec<String> = observed
            .known
            .iter()
            .filter(|dataset| dataset.name_any() == *name)
            .map(|dataset| format!("{}/{name}", dataset.namespace().unwrap_or_default()))
            .collect();
        let why = format!("there is no Dataset {own}/{name}, or you may not see it");
        let remedy = match &same[..] {
            [] => format!("create Dataset {name} in namespace {own}, or correct the volume"),
            same => format!("correct the volume: there is {}", same.join(", ")),
        };
        return vec![("a Dataset that it uses does not exist".to_owned(), why, remedy)];
    };
    if dataset.spec.grants(own, namespace) {
        return vec![];
    }
    let mut allowed: Vec<&str> = dataset.spec.allowed_namespaces.iter().map(|allowed| allowed.as_str()).collect();
    allowed.push(namespace);
    let patch = serde_json::json!({"spec": {"allowedNamespaces": allowed}});
    vec![(
        format!("pods of namespace {namespace} may not use Dataset {own}/{name}"),
        format!("{namespace} is not in spec.allowedNamespaces of the Dataset"),
        format!("let who owns the Dataset grant it: `kubectl patch dataset -n {own} {name} --type=merge -p '{patch}'`"),
    )]
}

/// Whether the pod's node has what mounts the Datasets.
fn on_node(observed: &Observed, used: &[Key], node: &str) -> Vec<Said> {
    let mut said = Vec::new();
    if let Some(drivers) = observed.program(names::CSI)
        && !drivers.iter().any(|pod| pods::node(pod) == Some(node))
    {
        said.push((
            format!("its node {node} has no CSI driver of Forebay"),
            format!("no pod of the DaemonSet {} is there", names::CSI),
            "let the DaemonSet run there (csi.nodeSelector, csi.tolerations of the chart), or run the pod elsewhere".to_owned(),
        ));
    }
    let mut runtimes: Vec<&str> =
        used.iter().filter_map(|at| observed.known(at)).map(|dataset| dataset.spec.runtime.as_str()).collect();
    runtimes.sort_unstable();
    runtimes.dedup();
    for name in runtimes {
        let (Some(agents), Some(runtime)) = (observed.agents(name), observed.runtime(name)) else { continue };
        // One that is there and not ready has a finding of its own.
        if agents.iter().any(|pod: &&Pod| pods::node(pod) == Some(node)) {
            continue;
        }
        let at = observed.nodes.iter().flatten().find(|known| known.name_any() == node);
        let (why, remedy) = no_agent(runtime, node, at);
        said.push((format!("its node {node} has no agent of CacheRuntime {name}"), why, remedy));
    }
    said
}

fn no_agent(runtime: &CacheRuntime, node: &str, at: Option<&Node>) -> (String, String) {
    let name = runtime.name_any();
    let spec = &runtime.spec;
    let words = |by: &str| spec.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(by);
    if at.is_some_and(|at| !runtime::matches(&spec.node_selector, at)) {
        return (
            format!("the CacheRuntime's nodeSelector asks for {}, which the node has not", words(",")),
            format!(
                "label the node: `kubectl label node {node} {}`; or let the pod's nodeSelector ask for the same labels",
                words(" ")
            ),
        );
    }
    let status = runtime.status.clone().unwrap_or_default();
    if let Some((namespace, scale)) = status.scaled_by.as_deref().and_then(|scale| scale.split_once('/')) {
        let desired = status.desired_replicas;
        return (
            format!(
                "CacheRuntimeScale {namespace}/{scale} bounds the nodes that lend space, {desired} now, and {node} is not among them"
            ),
            format!(
                "`kubectl describe hpa -n {namespace}` tells what an autoscaler goes by; or run the pod on a node that `kubectl forebay nodes {name}` shows"
            ),
        );
    }
    if let Some(replicas) = spec.replicas {
        return (
            format!("at most {replicas} nodes lend space by spec.replicas, and {node} is not among them"),
            format!(
                "`kubectl scale cacheruntime {name} --replicas=...`, or run the pod on a node that `kubectl forebay nodes {name}` shows"
            ),
        );
    }
    let taints = at.and_then(|at| at.spec.as_ref()?.taints.clone()).unwrap_or_default();
    let taints: Vec<String> = taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    (
        if taints.is_empty() {
            "no pod of the agents is there".to_owned()
        } else {
            format!("the node has taints: {}", taints.join(", "))
        },
        format!(
            "add what the node needs to spec.tolerations of CacheRuntime {name}, or run the pod on a node that `kubectl forebay nodes {name}` shows"
        ),
    )
}
