//! The answer to one pod.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_crds::Dataset;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, SerializePatchError};
use tokio::time::Instant;

use super::leader::Elsewhere;
use super::patch::patch;
use super::placed::is_placed;
use super::prefer::{Held, Place, terms};
use crate::agents::{Leadership, Leads};
use crate::names::{HOSTNAME, ZONE};
use crate::runtime;
use crate::stores::Stores;
use crate::volumes::Resolver;

/// What answers are made from.
pub(crate) struct Reviewer {
    pub(crate) stores: Stores,
    pub(crate) resolver: Resolver,
    pub(crate) leads: Leads,
    pub(crate) elsewhere: Elsewhere,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAReview {
    #[error("not an AdmissionReview of a pod: {0}")]
    Json(#[from] serde_json::Error),
    #[error("an AdmissionReview without a request")]
    Empty,
    #[error(transparent)]
    Patch(#[from] SerializePatchError),
}

impl Reviewer {
    /// The answer, as JSON. It always allows the pod. `forwarded`: another replica asks, which thinks that this one leads.
    pub(super) async fn answer(&self, body: &[u8], forwarded: bool) -> Result<Vec<u8>, NotAReview> {
        let review: AdmissionReview<Pod> = serde_json::from_slice(body)?;
        let request: AdmissionRequest<Pod> = review.try_into().map_err(|_| NotAReview::Empty)?;
        let unchanged = AdmissionResponse::from(&request);
        let datasets = self.datasets(&request).await;
        let response = match (self.leads.get(), &request.object) {
            (_, None) => unchanged,
            _ if datasets.is_empty() => unchanged,
            (Ok(leadership), Some(pod)) => {
                let terms = terms(&held(&datasets, &leadership), &self.places(), &request.uid);
                if terms.is_empty() { unchanged } else { unchanged.with_patch(serde_json::from_value(patch(pod, &terms))?)? }
            }
            (Err(_), Some(_)) if forwarded => unchanged,
            (Err(_), Some(_)) => match self.elsewhere.ask(body).await {
                Some(answer) => return Ok(answer),
                None => unchanged,
            },
        };
        Ok(serde_json::to_vec(&response.into_review())?)
    }

    /// The Datasets that the pod mounts and may mount, where a preference could matter.
    async fn datasets(&self, request: &AdmissionRequest<Pod>) -> Vec<Arc<Dataset>> {
        let (Some(pod), Some(namespace)) = (&request.object, &request.namespace) else { return Vec::new() };
        if is_placed(pod) {
            return Vec::new();
        }
        self.resolver.datasets(pod, namespace).await
    }

    fn places(&self) -> HashMap<String, Place> {
        self.stores.nodes.state().iter().filter_map(|node| place(node)).collect()
    }
}

/// What nodes hold of each Dataset that are not about to go: a pod on one of those would keep its agent there.
fn held(datasets: &[Arc<Dataset>], leadership: &Leadership) -> Vec<Held> {
    let now = Instant::now();
    let held = datasets.iter().map(|dataset| {
        let (runtime, uid) = (&dataset.spec.runtime, dataset.uid().unwrap_or_default());
        let leaving = leadership.published.leaving_peers(runtime);
        let mut on = leadership.registry.cached(runtime, &uid, now);
        on.retain(|(node, _)| !leaving.contains(node));
        Held { bytes: dataset.status.as_ref().map_or(0, |status| status.catalog.bytes), on }
    });
    held.collect()
}

/// A node as a place for new pods; `None`: it takes none now.
fn place(node: &Node) -> Option<(String, Place)> {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    if cordoned || !runtime::is_ready(node) {
        return None;
    }
    let hostname = node.labels().get(HOSTNAME)?.clone();
    Some((node.name_any(), Place { hostname, zone: node.labels().get(ZONE).cloned() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_nodes_that_take_pods_are_places() {
        let node = |labels: Value, unschedulable: bool, ready: &str| -> Node {
            serde_json::from_value(json!({
                "metadata": {"name": "n", "labels": labels}, "spec": {"unschedulable": unschedulable},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}
            }))
            .unwrap()
        };
        let named = json!({"kubernetes.io/hostname": "h", "topology.kubernetes.io/zone": "z"});
        let found = place(&node(named.clone(), false, "True"));
        assert_eq!(found, Some(("n".into(), Place { hostname: "h".into(), zone: Some("z".into()) })));
        assert_eq!(place(&node(named.clone(), true, "True")), None);
        assert_eq!(place(&node(named, false, "Unknown")), None);
        assert_eq!(place(&node(json!({}), false, "True")), None, "no label to name it by");
    }
}
