//! What the operator knows of the cluster: caches that both replicas keep warm, and a word for each change.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use forebay_crds::{CacheRuntime, CacheRuntimeScale, Dataset};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_kind};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use crate::{names, scale};

/// Changes that a controller may lag behind before it looks at everything anew.
const CHANGES: usize = 4096;

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// Anything may have changed.
    All,
    /// A Dataset, its volume or its claim.
    Dataset {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A CacheRuntime.
    Runtime(String),
    /// A CacheRuntimeScale of this CacheRuntime: nothing of its Datasets changes before its nodes do.
    Scale(String),
    /// A pod of a runtime, or which of its agents answer: its Datasets' status may change too.
    Agents(String),
    /// A node.
    Node,
    /// What an agent says of a Dataset: only its status may change.
    Progress {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A CacheRuntime's DaemonSet, or what an agent says of its tiers: nothing of its Datasets changes.
    Health(String),
}

/// The caches. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) datasets: Store<Dataset>,
    pub(crate) runtimes: Store<CacheRuntime>,
    /// Those of the operator's own namespace.
    pub(crate) scales: Store<CacheRuntimeScale>,
    pub(crate) nodes: Store<Node>,
    pub(crate) pods: Store<Pod>,
    pub(crate) daemon_sets: Store<DaemonSet>,
    pub(crate) volumes: Store<PersistentVolume>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) classes: Store<StorageClass>,
    changes: broadcast::Sender<Change>,
    filled: watch::Receiver<bool>,
}

impl Stores {
    /// Begins to watch; the tasks run until the set is dropped.
    pub(crate) fn start(client: &Client, namespace: &str, tasks: &mut JoinSet<()>) -> Self {
        let (changes, _) = broadcast::channel(CHANGES);
        let own = Some(namespace);
        let all = watcher::Config::default;
        let managed = || all().labels(&names::managed_selector());
        let agents = || all().labels(&names::agent_selector());
        let owned = |labels: &BTreeMap<String, String>| labels.get(names::RUNTIME).cloned();
        let (fill, filled) = watch::channel(false);
        let stores = Self {
            datasets: follow(tasks, Api::all(client.clone()), all(), &changes, |dataset: &Dataset| {
                Some(Change::Dataset { namespace: dataset.namespace()?, name: dataset.name_any() })
            }),
            runtimes: follow(tasks, Api::all(client.clone()), all(), &changes, |runtime: &CacheRuntime| {
                Some(Change::Runtime(runtime.name_any()))
            }),
            scales: follow(tasks, namespaced(client, own), all(), &changes, |scale: &CacheRuntimeScale| {
                Some(Change::Scale((*scale.spec.runtime).to_owned()))
            }),
            nodes: follow(tasks, Api::all(client.clone()), all(), &changes, |_: &Node| Some(Change::Node)),
            pods: follow(tasks, namespaced(client, own), agents(), &changes, move |pod: &Pod| {
                owned(pod.labels()).map(Change::Agents)
            }),
            daemon_sets: follow(tasks, namespaced(client, own), agents(), &changes, move |set: &DaemonSet| {
                owned(set.labels()).map(Change::Health)
            }),
            volumes: follow(tasks, Api::all(client.clone()), managed(), &changes, |volume: &PersistentVolume| {
                let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
                Some(Change::Dataset { namespace: claim.namespace.clone()?, name: claim.name.clone()? })
            }),
            claims: follow(tasks, Api::all(client.clone()), managed(), &changes, |claim: &PersistentVolumeClaim| {
                Some(Change::Dataset { namespace: claim.namespace()?, name: claim.name_any() })
            }),
            classes: follow(tasks, Api::all(client.clone()), all(), &changes, |_: &StorageClass| None),
            changes,
            filled,
        };
        tasks.spawn(wait(stores.clone(), fill));
        stores
    }

    /// Every change from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Tells of a change that no watch sees, such as an agent's report.
    pub(crate) fn announce(&self, change: Change) {
        // Nobody listens while another replica leads.
        let _ = self.changes.send(change);
    }

    /// Returns when each cache has been filled once. `false`: they never will be, since nobody watches any more.
    pub(crate) async fn filled(&self) -> bool {
        self.filled.clone().wait_for(|filled| *filled).await.is_ok()
    }

    pub(crate) fn dataset(&self, namespace: &str, name: &str) -> Option<std::sync::Arc<Dataset>> {
        self.datasets.get(&ObjectRef::new(name).within(namespace))
    }

    /// The CacheRuntimeScale that counts for a CacheRuntime.
    pub(crate) fn scale(&self, runtime: &str) -> Option<std::sync::Arc<CacheRuntimeScale>> {
        scale::counts(&self.scales.state(), runtime)
    }

    pub(crate) fn runtime(&self, name: &str) -> Option<std::sync::Arc<CacheRuntime>> {
        self.runtimes.get(&ObjectRef::new(name))
    }
}

/// The only one that waits for the caches themselves: of several that do, kube wakes the last alone.
async fn wait(stores: Stores, filled: watch::Sender<bool>) {
    let Stores { datasets, runtimes, scales, nodes, pods, daemon_sets, volumes, claims, classes, changes: _, filled: _ } = stores;
    let all = async {
        datasets.wait_until_ready().await?;
        runtimes.wait_until_ready().await?;
        scales.wait_until_ready().await?;
        nodes.wait_until_ready().await?;
        pods.wait_until_ready().await?;
        daemon_sets.wait_until_ready().await?;
        volumes.wait_until_ready().await?;
        claims.wait_until_ready().await?;
        classes.wait_until_ready().await
    };
    if all.await.is_ok() {
        tracing::info!("the caches are filled");
        filled.send_replace(true);
    }
    // For as long as the tasks: that the sender is dropped means that nobody watches.
    filled.closed().await;
}

fn namespaced<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace.unwrap_or("default"))
}

fn follow<K>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    config: watcher::Config,
    changes: &broadcast::Sender<Change>,
    change_of: impl Fn(&K) -> Option<Change> + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let (store, writer) = reflector::store();
    let changes = changes.clone();
    let kind = K::kind(&()).into_owned();
    let events = watch_kind(api, config)
        // Nobody here reads who wrote which field, which is half of an object.
        .modify(|object| object.managed_fields_mut().clear())
        .default_backoff()
        .reflect(writer);
    tasks.spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => change_of(&object),
                // The store is swapped when the list is complete; what vanished meanwhile has no event of its own.
                Ok(Event::InitDone) => Some(Change::All),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => {
                    tracing::warn!(kind, %error, "watch broken, it is begun again");
                    None
                }
            };
            if let Some(change) = change {
                let _ = changes.send(change);
            }
        }
    });
    store
}
