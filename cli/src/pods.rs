//! What matters of a pod: pure.

pub(crate) use forebay_crds::pods::node;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

/// Whether it serves.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// The status and message of a condition.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, Option<&'a str>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, found.message.as_deref()))
}

/// How often its containers were started anew.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// Why it does not run, in Kubernetes' words; `None`: it runs, or is on its way.
pub(crate) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let failed =
        || (status.phase.as_deref() == Some("Failed")).then(|| status.message.clone().or(status.reason.clone())).flatten();
    let unscheduled = || match condition(pod, "PodScheduled")? {
        ("False", message) => Some(message.unwrap_or("no node takes it").to_owned()),
        _ => None,
    };
    failed().or_else(unscheduled).or_else(|| containers(pod).find_map(waiting)).or_else(|| containers(pod).find_map(crashed))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing"))?;
    let last = crashed(container).map(|last| format!("; {last}")).unwrap_or_default();
    Some(format!("{reason}: {}{last}", waiting.message.as_deref().unwrap_or_default()))
}

/// How its last run ended, when it is not ready since.
fn crashed(container: &ContainerStatus) -> Option<String> {
    if container.ready {
        return None;
    }
    let state = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| state.as_ref()?.terminated.clone();
    let ended = state(&container.state).or_else(|| state(&container.last_state))?;
    let reason = ended.reason.unwrap_or_else(|| "ended".to_owned());
    Some(format!("container {} {reason} with exit code {}", container.name, ended.exit_code))
}

/// `namespace/name`.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}
