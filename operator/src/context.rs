//! What the controllers of a replica that leads share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use crate::agents::publish::Published;
use crate::agents::registry::Registry;
use crate::dataset::usage::Usage;
use crate::demand::Demand;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::names;
use crate::pace::Pace;
use crate::runtime::Settings;
use crate::secrets::Secrets;
use crate::stores::{Change, Stores};

/// For so long after this replica began to lead, or was not heard by most agents, an agent's silence says nothing: which replica leads, and
/// that it is there again, agents find by trying.
const SETTLING: Duration = Duration::from_secs(25);

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) settings: Settings,
    pub(crate) stores: Stores,
    pub(crate) registry: Arc<Registry>,
    pub(crate) published: Arc<Published>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) usage: Usage,
    pub(crate) demand: Demand,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) releasing: Since,
    pub(crate) writes: Pace,
    pub(crate) began: Instant,
    chosen: Mutex<HashMap<String, Arc<BTreeSet<String>>>>,
    /// Nodes that are not chosen and still have an agent.
    pub(crate) going: NodesSince,
    /// Those of them whose agents have been asked to let go.
    pub(crate) leaving: NodesSince,
    /// Runtimes of which most agents were not heard.
    deaf: Lately,
}

/// What the context is made of.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) stores: Stores,
    pub(crate) registry: Arc<Registry>,
    pub(crate) published: Arc<Published>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { client, settings, stores, registry, published, secrets, events, metrics } = parts;
        Self {
            client,
            namespace: settings.namespace.clone(),
            settings,
            stores,
            registry,
            published,
            secrets,
            usage: Usage::default(),
            demand: Demand::default(),
            events,
            metrics,
            releasing: Since::default(),
            writes: Pace::default(),
            began: Instant::now(),
            chosen: Mutex::default(),
            going: NodesSince::default(),
            leaving: NodesSince::default(),
            deaf: Lately::default(),
        }
    }

    pub(crate) fn is_settling(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < SETTLING
    }

    /// Notes whether this replica does not hear most agents of the runtime, as `is` says of now; whether it does not, or did not lately.
    pub(crate) fn note_deaf(&self, runtime: &str, is: bool, now: Instant) -> bool {
        self.deaf.is_or_was(runtime, is, now)
    }

    /// The nodes that are to have an agent of the runtime: as chosen, or till then those that have one; and whether they are
    /// chosen.
    pub(crate) fn agent_nodes(&self, runtime: &str) -> (Arc<BTreeSet<String>>, bool) {
        if let Some(chosen) = self.chosen(runtime) {
            return (chosen, true);
        }
        let pods = self.stores.pods.state();
        let of_runtime = pods.iter().filter(|pod| {
            pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::RUNTIME)).is_some_and(|name| name == runtime)
        });
        (Arc::new(of_runtime.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()), false)
    }

    /// Nodes whose agent's pod is ready and which do not answer (yet): what they hold is not known.
    pub(crate) fn silent_nodes(&self, runtime: &str, now: Instant) -> BTreeSet<String> {
        let live: BTreeSet<String> = self.registry.live(runtime, now).into_iter().map(|live| live.node).collect();
        let pods = self.stores.pods.state();
        let ready = pods.iter().filter(|pod| {
            let of_runtime = pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::RUNTIME));
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
            of_runtime.is_some_and(|name| name == runtime)
                && pod.metadata.deletion_timestamp.is_none()
                && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        let nodes = ready.filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
        nodes.filter(|node| !live.contains(node)).collect()
    }

    /// The nodes that were chosen last, if any were yet.
    pub(crate) fn chosen(&self, runtime: &str) -> Option<Arc<BTreeSet<String>>> {
        lock(&self.chosen).get(runtime).cloned()
    }

    pub(crate) fn set_chosen(&self, runtime: &str, nodes: &BTreeSet<String>) {
        let differs = lock(&self.chosen).get(runtime).is_none_or(|before| **before != *nodes);
        if differs {
            lock(&self.chosen).insert(runtime.to_owned(), Arc::new(nodes.clone()));
            self.stores.announce(Change::Agents(runtime.to_owned()));
        }
    }

    pub(crate) fn forget_runtime(&self, runtime: &str) {
        lock(&self.chosen).remove(runtime);
        self.going.forget(runtime);
        self.leaving.forget(runtime);
        self.deaf.forget(runtime);
    }
}

/// Since when something has been so of nodes, by runtime. A new leader begins to count anew, as with [`Since`].
#[derive(Debug, Default)]
pub(crate) struct NodesSince(Mutex<HashMap<String, BTreeMap<String, Instant>>>);

impl NodesSince {
    /// The nodes of a runtime of which it is so now.
    pub(crate) fn set(&self, runtime: &str, nodes: &BTreeSet<String>, now: Instant) {
        let mut all = lock(&self.0);
        let known = all.entry(runtime.to_owned()).or_default();
        known.retain(|node, _| nodes.contains(node));
        for node in nodes {
            known.entry(node.clone()).or_insert(now);
        }
    }

    /// For how long it has been so of each.
    pub(crate) fn since(&self, runtime: &str, now: Instant) -> BTreeMap<String, Duration> {
        let all = lock(&self.0);
        let of_runtime = all.get(runtime).into_iter().flatten();
        of_runtime.map(|(node, since)| (node.clone(), now.saturating_duration_since(*since))).collect()
    }

    fn forget(&self, runtime: &str) {
        lock(&self.0).remove(runtime);
    }
}

/// Since when something has been going on, by uid. A new leader begins to count anew: what is bounded takes longer then, and
/// ends nevertheless.
#[derive(Debug, Default)]
pub(crate) struct Since(Mutex<HashMap<String, Instant>>);

impl Since {
    /// For how long it has been going on, if it `is`.
    pub(crate) fn since(&self, uid: &str, is: bool, now: Instant) -> Duration {
        let mut known = lock(&self.0);
        if !is {
            known.remove(uid);
            return Duration::ZERO;
        }
        now.saturating_duration_since(*known.entry(uid.to_owned()).or_insert(now))
    }

    pub(crate) fn forget(&self, uid: &str) {
        lock(&self.0).remove(uid);
    }
}

/// When something was so last, by name. A new leader knows of nothing.
#[derive(Debug, Default)]
struct Lately(Mutex<HashMap<String, Instant>>);

impl Lately {
    /// Whether it `is` so now, or was within [`SETTLING`].
    fn is_or_was(&self, name: &str, is: bool, now: Instant) -> bool {
        let mut known = lock(&self.0);
        if is {
            known.insert(name.to_owned(), now);
            return true;
        }
        let was = known.get(name).is_some_and(|last| now.saturating_duration_since(*last) < SETTLING);
        if !was {
            known.remove(name);
        }
        was
    }

    fn forget(&self, name: &str) {
        lock(&self.0).remove(name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change is one assignment or insertion: what a panic left is whole.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_of_a_node_is_counted_from_when_it_began_last() {
        let (nodes, start) = (NodesSince::default(), Instant::now());
        let set = |names: &[&str], at| nodes.set("r", &names.iter().map(|name| (*name).to_owned()).collect(), start + at);
        let second = Duration::from_secs(1);
        set(&["a", "b"], Duration::ZERO);
        set(&["b", "c"], second);
        set(&["a", "b"], 2 * second);
        let since = nodes.since("r", start + 3 * second);
        assert_eq!(since, BTreeMap::from([("a".to_owned(), second), ("b".to_owned(), 3 * second)]));
        assert!(nodes.since("other", start).is_empty());
        nodes.forget("r");
        assert!(nodes.since("r", start).is_empty());
    }

    #[test]
    fn what_was_so_lately_is_counted_from_its_last_sight() {
        let (lately, start) = (Lately::default(), Instant::now());
        let at = |seconds, name, is| lately.is_or_was(name, is, start + Duration::from_secs(seconds));
        assert!(!at(0, "r", false) && at(1, "r", true) && at(3, "r", true));
        assert!(!at(4, "other", false));
        assert!(at(27, "r", false) && !at(28, "r", false) && lock(&lately.0).is_empty());
        assert!(at(29, "r", true));
        lately.forget("r");
        assert!(!at(29, "r", false));
    }

    #[test]
    fn what_goes_on_is_counted_from_its_first_sight() {
        let since = Since::default();
        let start = Instant::now();
        assert_eq!(since.since("a", true, start), Duration::ZERO);
        assert_eq!(since.since("a", true, start + Duration::from_secs(7)), Duration::from_secs(7));
        since.since("a", false, start);
        assert_eq!(since.since("a", true, start + Duration::from_secs(9)), Duration::ZERO);
    }
}
