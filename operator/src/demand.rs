//! Datasets whose data is fetched ahead from the first pod on that uses them (`prefetch.policy: OnFirstUse`).
//!
//! Only while there is such a Dataset without a pod so far, pods are watched, and of these only those that are pending: they come
//! by before they run, on whatever node, and one that waits for a node to be made is the one that it is worth most for. Once a pod
//! is seen, the Dataset's status says so, and what agents are told follows from the status (`agents/publish`).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::{Dataset, PrefetchPolicy};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::context::Context;
use crate::events::Note;
use crate::stores::Change;
use crate::volumes::Resolver;

/// The first pod that was seen to use a Dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstUse {
    /// `namespace/name`.
    pub(crate) pod: String,
    pub(crate) at: Timestamp,
}

impl FirstUse {
    pub(crate) fn note(&self) -> Note {
        let text = format!("pod {} uses it: what spec.prefetch names is fetched ahead from now on", self.pod);
        Note { warning: false, reason: "FirstUse".to_owned(), action: "Prefetch", text }
    }
}

/// First uses that are not in a status yet, by the Dataset's uid.
#[derive(Debug, Default)]
pub(crate) struct Demand(Mutex<HashMap<String, FirstUse>>);

impl Demand {
    pub(crate) fn first_use(&self, uid: &str) -> Option<FirstUse> {
        self.known().get(uid).cloned()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, FirstUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use; whether it is the first.
    fn note(&self, uid: &str, pod: String) -> bool {
        let mut known = self.known();
        let first = !known.contains_key(uid);
        if first {
            // In whole seconds, as the API server keeps it: what is read back is what was written.
            let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
            known.insert(uid.to_owned(), FirstUse { pod, at });
        }
        first
    }

    fn retain(&self, awaited: &HashSet<String>) {
        self.known().retain(|uid, _| awaited.contains(uid));
    }
}

/// Whether the Dataset has had no pod so far and is to be fetched ahead when one comes.
pub(crate) fn is_awaited(dataset: &Dataset) -> bool {
    dataset.spec.prefetch.policy == PrefetchPolicy::OnFirstUse
        && dataset.metadata.deletion_timestamp.is_none()
        && dataset.status.as_ref().is_none_or(|status| status.first_used_at.is_none())
}

/// Looks for first uses until its future is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    let mut changes = context.stores.changes();
    let mut asked = HashSet::new();
    loop {
        if !awaited(&context).is_empty() {
            watch(&context, &mut changes, &mut asked).await;
        }
        if !changed(&mut changes).await {
            return;
        }
    }
}

fn awaited(context: &Context) -> HashSet<String> {
    let datasets = context.stores.datasets.state();
    datasets.iter().filter(|dataset| is_awaited(dataset)).filter_map(|dataset| dataset.uid()).collect()
}

/// Waits until Datasets may not be what they were; `false`: they never change any more.
async fn changed(changes: &mut broadcast::Receiver<Change>) -> bool {
    loop {
        match changes.recv().await {
            Ok(Change::All | Change::Dataset { .. }) | Err(RecvError::Lagged(_)) => return true,
            Ok(_) => {}
            Err(RecvError::Closed) => return false,
        }
    }
}

/// Watches pending pods until every Dataset that awaits one has it. `asked`: Datasets whose running pods were looked for.
async fn watch(context: &Context, changes: &mut broadcast::Receiver<Change>, asked: &mut HashSet<String>) {
    let resolver = Resolver::new(context.client.clone(), context.stores.clone());
    let pending = watcher::Config::default().fields("status.phase=Pending");
    let pods = watcher(Api::<Pod>::all(context.client.clone()), pending).default_backoff().applied_objects();
    let mut pods = std::pin::pin!(pods);
    loop {
        let awaited = awaited(context);
        context.demand.retain(&awaited);
        asked.retain(|uid| awaited.contains(uid));
        if awaited.is_empty() {
            return;
        }
        // Pods that had it before it was told to await any, or while nobody led.
        for dataset in context.stores.datasets.state().iter().filter(|dataset| is_awaited(dataset)) {
            look_once(context, dataset, asked).await;
        }
        loop {
            tokio::select! {
                pod = pods.next() => match pod {
                    Some(Ok(pod)) => seen(context, &resolver, &pod).await,
                    Some(Err(error)) => tracing::warn!(%error, "the watch of pending pods is broken, it is begun again"),
                    None => return,
                },
                more = changed(changes) => {
                    if !more {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

async fn look_once(context: &Context, dataset: &Dataset, asked: &mut HashSet<String>) {
    let (Some(uid), Some(namespace)) = (dataset.uid(), dataset.namespace()) else { return };
    if asked.contains(&uid) {
        return;
    }
    match context.usage.users_of(&context.client, &namespace, &dataset.name_any()).await {
        Ok(users) => {
            asked.insert(uid);
            if let Some(user) = users.first() {
                used(context, dataset, user.to_string());
            }
        }
        Err(error) => tracing::warn!(dataset = dataset.name_any(), %error, "its pods were not looked for; it is tried again"),
    }
}

async fn seen(context: &Context, resolver: &Resolver, pod: &Pod) {
    let namespace = pod.namespace().unwrap_or_default();
    for dataset in resolver.datasets(pod, &namespace).await.iter().filter(|dataset| is_awaited(dataset)) {
        used(context, dataset, format!("{namespace}/{}", pod.name_any()));
    }
}

fn used(context: &Context, dataset: &Dataset, pod: String) {
    let (Some(uid), Some(namespace)) = (dataset.uid(), dataset.namespace()) else { return };
    if context.demand.note(&uid, pod) {
        context.stores.announce(Change::Dataset { namespace, name: dataset.name_any() });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_first_pod_counts_until_the_dataset_awaits_none() {
        let demand = Demand::default();
        assert!(demand.note("u", "ml/a".into()));
        assert!(!demand.note("u", "ml/b".into()));
        assert!(demand.note("other", "ml/b".into()));
        let first = demand.first_use("u").unwrap();
        assert_eq!((first.pod.as_str(), first.at.subsec_nanosecond()), ("ml/a", 0));
        demand.retain(&HashSet::from(["other".to_owned()]));
        assert_eq!(demand.first_use("u"), None);
        assert!(demand.first_use("other").is_some());
    }

    #[test]
    fn a_dataset_awaits_a_pod_as_long_as_its_policy_says_and_it_had_none() {
        let dataset = |policy: &str, more: serde_json::Value| -> Dataset {
            let mut object = json!({
                "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "d", "namespace": "ml"},
                "spec": {"mounts": [{"path": "/", "source": "/data"}], "prefetch": {"policy": policy}}
            });
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(object).unwrap()
        };
        assert!(is_awaited(&dataset("OnFirstUse", json!({}))));
        assert!(is_awaited(&dataset("OnFirstUse", json!({"status": {"phase": "Ready"}}))));
        assert!(!is_awaited(&dataset("OnFirstUse", json!({"status": {"firstUsedAt": "2026-01-01T00:00:00Z"}}))));
        assert!(!is_awaited(&dataset("Eager", json!({}))) && !is_awaited(&dataset("OnDemand", json!({}))));
        let going = json!({"metadata": {"name": "d", "namespace": "ml", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(!is_awaited(&dataset("OnFirstUse", going)));
    }
}
