//! What there is: the only reads of the CacheRuntime controller. All of it comes from caches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use forebay_crds::{CacheRuntime, CacheRuntimeScale, Dataset};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use super::daemon_set::POD_HASH;
use super::peers::most_are_late;
use crate::agents::registry::Live;
use crate::context::Context;
use crate::{names, quantity, scale};

/// A CacheRuntime and all that its reconciliation needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(super) runtime: Arc<CacheRuntime>,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) nodes: Vec<NodeFacts>,
    pub(super) daemon_set: Option<Arc<DaemonSet>>,
    pub(super) pods: Vec<PodFacts>,
    /// Agents that answer.
    pub(super) live: Vec<Live>,
    /// Nodes that were chosen last; `None`: this replica has chosen none yet.
    pub(super) chosen: Option<Arc<BTreeSet<String>>>,
    /// For how long each node that is not chosen, and where no pod uses a volume, has been so and has kept its agent.
    pub(super) going: BTreeMap<String, Duration>,
    /// For how long each leaving node has been asked to let go.
    pub(super) asked: BTreeMap<String, Duration>,
    /// Nodes share the data of some Dataset, so that one may have what no other has.
    pub(super) shared: bool,
    /// While nodes are going: those whose agents have brought in all that they keep of such Datasets.
    pub(super) complete: BTreeSet<String>,
    /// The CacheRuntimeScale that counts.
    pub(super) scale: Option<Arc<CacheRuntimeScale>>,
    /// The other CacheRuntimes.
    pub(super) others: Vec<Arc<CacheRuntime>>,
    /// Datasets that name it, `namespace/name`.
    pub(super) datasets: Vec<String>,
    /// Of one that is being deleted: for how long its agents have been asked to let go.
    pub(super) ending: Option<Duration>,
    /// This replica leads so shortly that agents may not have come over yet.
    pub(super) settling: bool,
    /// This replica does not hear most agents, or did not a moment ago: the others may be about to come back.
    pub(super) deaf: bool,
}

impl Observed {
    /// How many nodes are to lend space at most, as the CacheRuntime or its scale says.
    pub(super) fn replicas(&self) -> Option<u32> {
        scale::replicas(&self.runtime, self.scale.as_deref())
    }
}

/// What matters of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Taint>,
    pub(super) ready: bool,
    /// Cordoned.
    pub(super) unschedulable: bool,
    /// It shuts down, or its object is being deleted.
    pub(super) ending: bool,
    /// When its object was made, in seconds since 1970; 0: not known.
    pub(super) since: u64,
    /// Allocatable bytes of memory; `None`: the node does not say.
    pub(super) memory: Option<u64>,
}

/// Taints of nodes that an autoscaler is about to remove: the cluster autoscaler's, and Karpenter's. They let no new pod come
/// (`NoSchedule`) and take none away.
const GOING: [&str; 3] = ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption"];

/// Whether it is with this taint that an autoscaler marks a node that it is about to remove.
pub(super) fn marks_removal(taint: &Taint) -> bool {
    GOING.contains(&&*taint.key)
}

impl NodeFacts {
    /// Whether an autoscaler is about to remove the node.
    pub(super) fn is_marked_for_removal(&self) -> bool {
        self.taints.iter().any(marks_removal)
    }

    /// Whether the node is being drained, or soon will be: what it alone keeps is better taken over now.
    pub(super) fn is_leaving(&self) -> bool {
        self.unschedulable || self.ending || self.is_marked_for_removal()
    }
}

/// What matters of an agent's pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PodFacts {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) node: Option<String>,
    pub(super) ready: bool,
    pub(super) terminating: bool,
    /// Its own address.
    pub(super) ip: Option<IpAddr>,
    /// Hash of what it was made from.
    pub(super) made_from: Option<String>,
    /// Why it does not run, in Kubernetes' words.
    pub(super) trouble: Option<String>,
}

pub(super) fn observe(context: &Context, runtime: Arc<CacheRuntime>) -> Option<Observed> {
    let (name, uid) = (runtime.name_any(), runtime.uid()?);
    let stores = &context.stores;
    let now = Instant::now();
    let ending = match runtime.metadata.deletion_timestamp {
        None => {
            context.releasing.forget(&uid);
            None
        }
        Some(_) => Some(context.releasing.since(&uid, true, now)),
    };
    let set = ObjectRef::new(&names::daemon_set(&name)).within(&context.namespace);
    let is_of_runtime = |pod: &Arc<Pod>| pod.labels().get(names::RUNTIME) == Some(&name);
    let mut pods: Vec<PodFacts> = stores.pods.state().iter().filter(|pod| is_of_runtime(pod)).map(|pod| pod_facts(pod)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let mut nodes: Vec<NodeFacts> = stores.nodes.state().iter().map(|node| node_facts(node)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut of_runtime = stores.datasets.state();
    of_runtime.retain(|dataset| *dataset.spec.runtime == *name);
    let full_name = |dataset: &Arc<Dataset>| format!("{}/{}", dataset.namespace().unwrap_or_default(), dataset.name_any());
    let mut datasets: Vec<String> = of_runtime.iter().map(full_name).collect();
    datasets.sort();
    of_runtime.retain(|dataset| dataset.spec.placement.copies().is_some());
    let shared: Vec<String> = of_runtime.iter().filter_map(|dataset| dataset.uid()).collect();
    let (going, asked) = (context.going.since(&name, now), context.leaving.since(&name, now));
    // It goes through all reports, so only while somebody waits for it.
    let is_awaited = going.keys().any(|node| !asked.contains_key(node));
    let complete = if is_awaited { context.registry.share_complete(&name, &shared, now) } else { BTreeSet::new() };
    let live = context.registry.live(&name, now);
    let deaf = context.note_deaf(&name, most_are_late(&pods, &live), now);
    let others = stores.runtimes.state().into_iter().filter(|other| other.name_any() != name).collect();
    Some(Observed {
        nodes,
        daemon_set: stores.daemon_sets.get(&set),
        pods,
        live,
        chosen: context.chosen(&name),
        going,
        asked,
        shared: !shared.is_empty(),
        complete,
        scale: stores.scale(&name),
        others,
        datasets,
        ending,
        settling: context.is_settling(now),
        deaf,
        runtime,
        name,
        uid,
    })
}

pub(super) fn node_facts(node: &Node) -> NodeFacts {
    let (spec, status) = (node.spec.as_ref(), node.status.as_ref());
    let created = node.metadata.creation_timestamp.as_ref();
    NodeFacts {
        name: node.name_any(),
        labels: node.labels().clone(),
        taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
        ready: is_ready(node),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        ending: node.metadata.deletion_timestamp.is_some() || is_shutting_down(node),
        since: created.and_then(|created| u64::try_from(created.0.as_second()).ok()).unwrap_or(0),
        memory: status.and_then(|status| quantity::units(&status.allocatable.as_ref()?.get("memory")?.0)),
    }
}

/// Whether the kubelet has been told that the machine goes down, as by the notice that a provider gives before it takes one back. It says
/// so in words; in which field has changed between versions.
fn is_shutting_down(node: &Node) -> bool {
    ready_condition(node).is_some_and(|ready| {
        let words = [&ready.reason, &ready.message].map(|words| words.as_deref().unwrap_or_default());
        ready.status == "False" && words.iter().any(|words| words.contains("node is shutting down"))
    })
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// Whether the node is well, and is to stay.
pub(crate) fn is_ready(node: &Node) -> bool {
    node.metadata.deletion_timestamp.is_none() && ready_condition(node).is_some_and(|ready| ready.status == "True")
}

fn pod_facts(pod: &Pod) -> PodFacts {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let unscheduled = condition("PodScheduled").filter(|condition| condition.status == "False").and_then(|c| c.message.clone());
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| reason != "ContainerCreating" && reason != "PodInitializing")?;
        Some(format!("{reason}: {}", waiting.message.clone().unwrap_or_default()))
    });
    let failed = (status.phase.as_deref() == Some("Failed")).then(|| status.message.clone().or(status.reason.clone())).flatten();
    PodFacts {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: forebay_crds::pods::node(pod).map(str::to_owned),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        ip: status.pod_ip.as_ref().and_then(|ip| ip.parse().ok()),
        made_from: pod.annotations().get(POD_HASH).cloned(),
        trouble: failed.or(unscheduled).or(waiting),
    }
}
