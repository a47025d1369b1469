//! Forebay itself: is it installed, does it run? Pure.

use forebay_crds::names::{self, AGENT, APP, CSI, OPERATOR};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::observed::Observed;
use super::{Diagnosis, Finding};
use crate::pods;

pub(super) fn look(observed: &Observed, diagnosis: &mut Diagnosis) {
    if !observed.installed {
        diagnosis.findings.push(Finding {
            about: "the cluster".to_owned(),
            what: "it knows no Datasets".to_owned(),
            why: format!("the API server has no kinds of the group {}", forebay_crds::GROUP),
            remedy:
                "install Forebay's chart: `helm install forebay charts/forebay --namespace forebay-system --create-namespace`"
                    .to_owned(),
        });
        return;
    }
    if let Some(operators) = observed.program(OPERATOR) {
        operator(operators, diagnosis);
    }
    if observed.driver == Some(false) {
        diagnosis.findings.push(Finding {
            about: format!("CSIDriver {}", names::DRIVER),
            what: "it does not exist, so that kubelets do not say whose pod a volume is for".to_owned(),
            why: String::new(),
            remedy: "install Forebay's chart anew with `helm upgrade`, which makes it".to_owned(),
        });
    }
    if let Some(drivers) = observed.program(CSI) {
        driver(observed, drivers, diagnosis);
    }
}

fn operator(operators: &[Pod], diagnosis: &mut Diagnosis) {
    if operators.iter().any(pods::is_ready) {
        return;
    }
    let select = format!("-A -l {APP}={OPERATOR}");
    let first = operators.first();
    diagnosis.findings.push(Finding {
        about: "the operator".to_owned(),
        what: "it does not run: no status is true any more, and nothing new is served".to_owned(),
        why: match first {
            None => "it has no pod".to_owned(),
            Some(pod) => why(pod),
        },
        remedy: match first {
            None => format!("see `kubectl describe deployments {select}`; scale it up, or install the chart"),
            Some(pod) => format!("see {}", logs(pod)),
        },
    });
}

fn driver(observed: &Observed, drivers: &[Pod], diagnosis: &mut Diagnosis) {
    let sets = observed.sets.as_deref();
    let has_set = sets.is_none_or(|sets| sets.iter().any(|set| set.labels().get(APP).is_some_and(|app| app == CSI)));
    if drivers.is_empty() {
        diagnosis.findings.push(Finding {
            about: format!("the CSI driver {}", names::DRIVER),
            what: "it runs on no node: no pod can mount a Dataset".to_owned(),
            why: if has_set { "its DaemonSet has no pod" } else { "its DaemonSet does not exist" }.to_owned(),
            remedy: format!(
                "see `kubectl describe daemonsets -A -l {APP}={CSI}`; correct csi.nodeSelector and csi.tolerations of the chart"
            ),
        });
    }
    for pod in drivers.iter().filter(|pod| !pods::is_ready(pod) && pod.metadata.deletion_timestamp.is_none()) {
        diagnosis.findings.push(not_ready("the CSI driver", "pods on that node cannot mount Datasets", pod));
    }
}

/// A pod of ours that does not serve.
pub(super) fn not_ready(program: &str, consequence: &str, pod: &Pod) -> Finding {
    Finding {
        about: format!("{program} on node {}", pods::node(pod).unwrap_or("?")),
        what: format!("it is not ready: {consequence}"),
        why: why(pod),
        remedy: remedy(pod),
    }
}

fn why(pod: &Pod) -> String {
    let trouble = pods::trouble(pod).unwrap_or_else(|| "it has not said yet that it is ready".to_owned());
    format!("pod {}: {trouble}", pods::full_name(pod))
}

/// By the reasons that kubelet gives.
fn remedy(pod: &Pod) -> String {
    let trouble = pods::trouble(pod).unwrap_or_default();
    let has = |word: &str| trouble.contains(word);
    if has("ImagePull") || has("ErrImage") || has("InvalidImageName") {
        "correct image.registry and image.tag of the chart, or give it image.pullSecrets".to_owned()
    } else if has("OOMKilled") {
        let who = if pod.labels().get(APP).is_some_and(|app| app == AGENT) { "agent.resources" } else { "the resources" };
        format!("raise the memory limit: {who} in the chart's values")
    } else if has("nodes are available") {
        "make room on the node, or take it out by nodeSelector".to_owned()
    } else {
        format!("see {}", logs(pod))
    }
}

fn logs(pod: &Pod) -> String {
    let (namespace, name) = super::observed::key(pod);
    format!("`kubectl describe pod -n {namespace} {name}` and `kubectl logs -n {namespace} {name} --all-containers`")
}
