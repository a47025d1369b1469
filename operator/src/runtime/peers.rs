//! Which agents serve each other: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use forebay_api::session::{PEER_PORT, PeerState};

use super::observe::{NodeFacts, Observed, PodFacts};
use crate::agents::registry::{Live, SAME_MOMENT};
use crate::names::ZONE;

/// The agents that answer, by node; none that is on its way out. Those on nodes that are `going` are leaving, as those on nodes that are drained.
///
/// One that is silent is not there, whatever Kubernetes thinks of its pod: of a node that died it thinks well for most of a minute. Only where
/// silence says nothing kubelet's word counts. One that has yet to say how its tiers do has nothing to give, and comes with its age, not before it.
pub(super) fn peers(observed: &Observed, going: &BTreeSet<String>) -> BTreeMap<String, PeerState> {
    let nodes: BTreeMap<&str, &NodeFacts> = observed.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let live: BTreeMap<&str, &Live> = observed.live.iter().map(|live| (live.pod.as_str(), live)).collect();
    let peer = |pod: &PodFacts| {
        let (node, address) = (pod.node.clone()?, SocketAddr::new(pod.ip?, PEER_PORT));
        let facts = nodes.get(node.as_str());
        let zone = facts.and_then(|facts| facts.labels.get(ZONE)).cloned();
        let leaving = going.contains(&node) || facts.is_some_and(|facts| facts.is_leaving());
        // While agents come over one after the other, each that says its age would be a change that all are told.
        let born = live.get(pod.name.as_str()).and_then(|live| live.born).filter(|_| !observed.settling);
        let since = since(facts.map_or(0, |facts| facts.since), born);
        Some((node.clone(), PeerState { node, zone, address, leaving, since }))
    };
    let silence_counts = !observed.settling && !observed.deaf;
    let is_there = |pod: &&PodFacts| pod.ready && !silence_counts;
    let answers = |pod: &&PodFacts| live.get(pod.name.as_str()).is_some_and(|live| live.health.is_some());
    let staying = || observed.pods.iter().filter(|pod| !pod.terminating);
    let mut peers: BTreeMap<_, _> = staying().filter(is_there).filter_map(peer).collect();
    peers.extend(staying().filter(answers).filter_map(peer));
    peers
}

/// Since when a node may have data: since it `came`, or since what it has there was `born` where that was later by more than an agent takes to
/// begin on a new node.
fn since(came: u64, born: Option<u64>) -> u64 {
    born.filter(|born| born.saturating_sub(came) >= SAME_MOMENT.as_secs()).unwrap_or(came)
}

/// Whether most of the agents that serve, as kubelet sees it, have missed their sign of life: then it is this replica that does not hear, rather
/// than they that are gone all at once. One that did not hear at all notices before the first of them counts as silent.
pub(super) fn most_are_late(pods: &[PodFacts], live: &[Live]) -> bool {
    let in_time: BTreeSet<&str> = live.iter().filter(|live| !live.late).map(|live| live.pod.as_str()).collect();
    let serving = pods.iter().filter(|pod| pod.ready && !pod.terminating);
    let (heard, late): (Vec<&PodFacts>, Vec<&PodFacts>) = serving.partition(|pod| in_time.contains(pod.name.as_str()));
    late.len() > heard.len()
}
