//! The only writes: a taint less, a condition, an event.

use std::sync::Arc;

use forebay_crds::CacheRuntime;
use forebay_crds::conditions::node::WARM_UP_COMPLETE;
use forebay_crds::conditions::reason;
use forebay_crds::k8s::Time;
use forebay_crds::k8s::jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::decide::{Change, Said, Sight, Written};
use crate::context::Context;
use crate::events::Note;
use crate::verdict::whole_second;
use crate::{names, ssa};

/// Writes what is to be written. What fails is tried at the next look, which finds it still to be done.
pub(super) async fn apply(context: &Context, sight: Sight, change: Change) {
    let name = sight.node.name_any();
    match write(context, &sight, &change).await {
        Ok(()) => {}
        // The node has changed meanwhile, or is gone: it is looked at anew.
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => return,
        Err(error) => {
            let error = ssa::words(&error);
            tracing::warn!(node = name, error, "a node that warms up was not written to, it is tried again");
            return;
        }
    }
    let Some(end) = change.end else { return };
    tracing::info!(node = name, reason = end.reason, message = end.message, lifted = change.lift, "a node's warm-up is over");
    let late = end.reason == reason::WARM_UP_TIMED_OUT;
    if late {
        for lender in &sight.lenders {
            let runtime: Option<Arc<CacheRuntime>> = context.stores.runtimes.get(&ObjectRef::new(&lender.name));
            if let Some(runtime) = runtime {
                let text = format!("node {name}: {}; pods may run there now", end.message);
                context.events.publish(&*runtime, note(late, &end, text)).await;
            }
        }
    }
    let text = format!("{}; pods may run here now", end.message);
    context.events.publish(&*sight.node, note(late, &end, text)).await;
}

fn note(warning: bool, end: &Said, text: String) -> Note {
    Note { warning, reason: end.reason.clone(), action: "WarmUp", text }
}

async fn write(context: &Context, sight: &Sight, change: &Change) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let name = sight.node.name_any();
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    if change.lift {
        nodes.patch(&name, &params, &Patch::Merge(without_taint(&sight.node))).await?;
    }
    let condition = match &change.condition {
        Written::Kept => return Ok(()),
        Written::Set(said) => set(said, sight.condition.as_ref().is_some_and(|before| before.holds == said.holds)),
        Written::Removed => json!({"$patch": "delete", "type": WARM_UP_COMPLETE}),
    };
    let patch = json!({"status": {"conditions": [condition]}});
    nodes.patch_status(&name, &params, &Patch::Strategic(patch)).await.map(drop)
}

/// All taints but the one: the list has no keys, and is written as a whole, under the version that was read, so that a taint
/// that comes meanwhile stays.
fn without_taint(node: &Node) -> Value {
    let all = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let left: Vec<&Taint> = all.filter(|taint| taint.key != names::WARMING).collect();
    json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": left}})
}

/// `same`: the status was so before.
fn set(said: &Said, same: bool) -> Value {
    let now = Time(whole_second(Timestamp::now()));
    let mut condition = json!({
        "type": WARM_UP_COMPLETE,
        "status": if said.holds { "True" } else { "False" },
        "reason": said.reason,
        "message": said.message,
        "lastHeartbeatTime": now,
    });
    // The time of a transition stays while the status does: the wait is counted from it.
    if !same {
        condition["lastTransitionTime"] = json!(now);
    }
    condition
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    #[test]
    fn one_taint_goes_and_every_other_stays() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "resourceVersion": "7"},
            "spec": {"taints": [
                {"key": "gpu", "value": "v", "effect": "NoSchedule"},
                {"key": "forebay.io/warming", "effect": "NoSchedule"},
                {"key": "forebay.io/warming", "effect": "NoExecute"},
            ]}
        }))
        .unwrap();
        let expected = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"taints": [{"key": "gpu", "value": "v", "effect": "NoSchedule"}]}
        });
        assert_eq!(without_taint(&node), expected);
    }
}
