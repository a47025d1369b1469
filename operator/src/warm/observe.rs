//! The nodes that may have to be written to: all of it from caches and from what agents said last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_crds::conditions::{dataset as kind, node::WARM_UP_COMPLETE};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::{CacheRuntime, Dataset, Phase};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::decide::{Lender, Said, Sight};
use crate::agents::standing::{Standing, Words};
use crate::context::Context;
use crate::verdict::find;
use crate::{demand, names, runtime, scale};

/// Dataset by Dataset of one runtime that is to be waited for: uid, `namespace/name`, generation of the spec.
type Wanted = Vec<(String, String, i64)>;

pub(super) fn observe(context: &Context) -> Vec<Sight> {
    let runtimes: Vec<Arc<CacheRuntime>> = context.stores.runtimes.state();
    let lending = |runtime: &&Arc<CacheRuntime>| runtime.metadata.deletion_timestamp.is_none();
    let lending: Vec<&Arc<CacheRuntime>> = runtimes.iter().filter(lending).collect();
    let wished = lending.iter().any(|runtime| runtime.spec.warm_up.node_condition);
    let now = Instant::now();
    let mut wanted: Option<BTreeMap<String, Wanted>> = None;
    let mut sights = Vec::new();
    for node in context.stores.nodes.state() {
        let tainted = is_tainted(&node);
        let condition = condition(&node);
        let complete = condition.is_some_and(|condition| condition.status == "True");
        let is_new = tainted || (wished && !complete);
        let stale = condition.is_some() && !wished;
        if (!is_new && !stale) || node.metadata.deletion_timestamp.is_some() {
            continue;
        }
        // Looked up only once there is a node to look at, which in most seconds there is not.
        let wanted: &BTreeMap<String, Wanted> = wanted.get_or_insert_with(|| self::wanted(&context.stores.datasets.state()));
        let lenders = lending.iter().filter(|runtime| lends(context, runtime, &node));
        let lenders = lenders.map(|runtime| lender(context, runtime, &node.name_any(), wanted, now)).collect();
        sights.push(Sight {
            tainted,
            waited: condition.filter(|_| !complete).map_or(Duration::ZERO, waited),
            condition: condition.map(said),
            lenders,
            node,
        });
    }
    sights
}

fn is_tainted(node: &Node) -> bool {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).any(|taint| taint.key == names::WARMING)
}

fn condition(node: &Node) -> Option<&NodeCondition> {
    let status = node.status.as_ref()?;
    status.conditions.iter().flatten().find(|condition| condition.type_ == WARM_UP_COMPLETE)
}

fn said(condition: &NodeCondition) -> Said {
    Said {
        holds: condition.status == "True",
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    }
}

/// Kept on the node, so that a new leader does not begin to count anew.
fn waited(condition: &NodeCondition) -> Duration {
    let since = condition.last_transition_time.as_ref().map(|time| Timestamp::now().duration_since(time.0));
    since.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default()
}

fn wanted(datasets: &[Arc<Dataset>]) -> BTreeMap<String, Wanted> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for dataset in datasets {
        let idle = demand::is_awaited(dataset) && dataset.spec.pin.paths.is_empty();
        if !dataset.spec.warm_before_scheduling || idle || dataset.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let (Some(uid), Some(namespace)) = (dataset.uid(), dataset.namespace()) else { continue };
        let name = format!("{namespace}/{}", dataset.name_any());
        let generation = dataset.metadata.generation.unwrap_or(0);
        wanted.entry((*dataset.spec.runtime).to_owned()).or_default().push((uid, name, generation));
    }
    wanted
}

fn lends(context: &Context, runtime: &CacheRuntime, node: &Node) -> bool {
    // With a bound on their number, which nodes lend is the CacheRuntime controller's choice.
    let name = runtime.name_any();
    let bound = scale::replicas(runtime, context.stores.scale(&name).as_deref());
    let chosen = bound.is_none() || context.agent_nodes(&name).0.contains(node.metadata.name.as_deref().unwrap_or_default());
    chosen && runtime::may_lend(&runtime.spec, node, &context.settings)
}

fn lender(context: &Context, runtime: &CacheRuntime, node: &str, wanted: &BTreeMap<String, Wanted>, now: Instant) -> Lender {
    let name = runtime.name_any();
    let wanted = wanted.get(&name).map(Vec::as_slice).unwrap_or_default();
    let uids: Vec<&str> = wanted.iter().map(|(uid, _, _)| uid.as_str()).collect();
    let reports = context.registry.standings(&name, node, &uids, now);
    let lacks = |said: &BTreeMap<String, Standing>| {
        let words = |uid: &String| said.get(uid).map(|standing| &*standing.words);
        wanted.iter().filter_map(|(uid, name, generation)| missing(name, *generation, words(uid))).collect()
    };
    Lender {
        timeout: runtime.spec.warm_up.timeout.duration(),
        condition: runtime.spec.warm_up.node_condition,
        serves: reports.is_some(),
        missing: reports.as_ref().map(lacks).unwrap_or_default(),
        datasets: wanted.len(),
        name,
    }
}

/// What a Dataset lacks on a node, as its agent says.
fn missing(name: &str, generation: i64, status: Option<&Words>) -> Option<String> {
    let Some(status) = status else { return Some(format!("{name}: the agent has not taken it up yet")) };
    let served = matches!(status.phase, Phase::Prefetching | Phase::Ready | Phase::Degraded);
    let current = status.observed_generation.is_none_or(|observed| observed >= generation);
    let said = |kind| find(&status.conditions, kind).filter(|condition| condition.status != "True");
    if !served || !current {
        return Some(match said(kind::READY) {
            Some(condition) => format!("{name}: {}: {}", condition.reason, stable(&condition.message)),
            None => format!("{name}: the agent takes it up"),
        });
    }
    match find(&status.conditions, kind::PREFETCHED) {
        Some(condition) if condition.status == "True" => None,
        // Without its figures, which would be written to the node each second.
        Some(condition) => Some(format!("{name}: {}", condition.reason)),
        None => Some(format!("{name}: the agent does not say how far it is")),
    }
}

/// The first line, shortened: a store's own words may be long.
fn stable(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests;
