//! What there is: the only reads of the doctor. What the user may not see is left out, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anyhow::anyhow;
use forebay_crds::{CacheRuntime, Dataset, names};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::dataset::secrets;
use super::observed::{Key, Observed, PodSeen, Question, key};
use super::volumes;
use crate::cli::Doctor;
use crate::cluster::{Cluster, is_denied, told};

/// Objects a page.
const PAGE: u32 = 500;
/// Events of a pod that are read: kubelet repeats itself.
const EVENTS: u32 = 100;

/// Looks at all that the question is about.
pub(super) async fn observe(cluster: &Cluster, args: &Doctor) -> anyhow::Result<Observed> {
    let mut look = Look { cluster, seen: Observed::default() };
    look.kinds().await?;
    if !look.seen.installed {
        return Ok(look.seen);
    }
    look.question(args).await?;
    look.programs().await?;
    look.named_secrets().await?;
    look.claims_and_volumes().await?;
    Ok(look.seen)
}

struct Look<'a> {
    cluster: &'a Cluster,
    seen: Observed,
}

impl Look<'_> {
    fn all<K: kube::Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.cluster.client.clone())
    }

    fn own<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), namespace)
    }

    /// What was read; notes what the user may not read.
    fn permitted<T>(&mut self, what: &str, read: kube::Result<T>) -> anyhow::Result<Option<T>> {
        match read {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_denied(&error) => {
                self.seen.unseen.push(format!("{what} could not be looked at: {}", told(error)));
                Ok(None)
            }
            Err(error) => Err(told(error).context(format!("look at {what}"))),
        }
    }

    /// Our kinds, and whether there are any.
    async fn kinds(&mut self) -> anyhow::Result<()> {
        let everywhere = list(&self.all::<Dataset>(), "").await;
        let (what, read) = match everywhere {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) if is_denied(&error) => {
                let own = &self.cluster.namespace;
                (format!("Datasets of namespace {own}"), list(&self.own::<Dataset>(own), "").await)
            }
            other => ("Datasets".to_owned(), other),
        };
        self.seen.installed = true;
        self.seen.known = self.permitted(&what, read)?.unwrap_or_default();
        let runtimes = list(&self.all::<CacheRuntime>(), "").await;
        self.seen.runtimes = self.permitted("CacheRuntimes", runtimes)?;
        Ok(())
    }

    /// What is asked about, and the Datasets that are to be judged for it.
    async fn question(&mut self, args: &Doctor) -> anyhow::Result<()> {
        let namespace = self.cluster.namespace.clone();
        let Doctor { dataset, pod, all_namespaces, output: _ } = args;
        match (dataset, pod) {
            (Some(name), _) => {
                self.seen.datasets = vec![self.cluster.dataset(name).await?];
                self.seen.question = Question::Dataset((namespace, name.clone()));
            }
            (None, Some(name)) => {
                let found = self.own::<Pod>(&namespace).get_opt(name).await.map_err(told)?;
                let found = found.ok_or_else(|| anyhow!("there is no pod {name} in namespace {namespace}"))?;
                let warnings = self.warnings(&found).await?;
                self.seen.pod = Some(PodSeen { pod: found, warnings });
                self.seen.question = Question::Pod((namespace, name.clone()));
            }
            (None, None) => {
                let wanted = |dataset: &&Dataset| *all_namespaces || dataset.namespace().as_ref() == Some(&namespace);
                self.seen.datasets = self.seen.known.iter().filter(wanted).cloned().collect();
                self.seen.question = if *all_namespaces { Question::Everything } else { Question::Namespace(namespace) };
            }
        }
        Ok(())
    }

    async fn warnings(&mut self, pod: &Pod) -> anyhow::Result<Vec<(String, String)>> {
        let (namespace, name) = key(pod);
        let of_pod = format!("involvedObject.kind=Pod,involvedObject.name={name},type=Warning");
        let params = ListParams::default().fields(&of_pod).limit(EVENTS);
        let events = self.own::<Event>(&namespace).list(&params).await;
        let mut events = self.permitted("the pod's events", events)?.map(|list| list.items).unwrap_or_default();
        // A pod of that name may have been there before.
        events.retain(|event| event.involved_object.uid.is_none() || event.involved_object.uid == pod.uid());
        let time = |event: &Event| event.last_timestamp.clone().or(event.metadata.creation_timestamp.clone()).map(|time| time.0);
        events.sort_by_key(|event| std::cmp::Reverse(time(event)));
        let words = |event: Event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        Ok(events.into_iter().map(words).collect())
    }

    /// Our programs, wherever the chart put them, and the nodes that they run on.
    async fn programs(&mut self) -> anyhow::Result<()> {
        for app in [names::OPERATOR, names::AGENT, names::CSI] {
            let pods = list(&self.all::<Pod>(), &format!("{}={app}", names::APP)).await;
            let pods = self.permitted(&format!("the pods of {app}"), pods)?;
            self.seen.programs.insert(app, pods);
        }
        let ours = format!("{} in ({}, {})", names::APP, names::AGENT, names::CSI);
        let sets = list(&self.all::<DaemonSet>(), &ours).await;
        self.seen.sets = self.permitted("DaemonSets", sets)?;
        let nodes = list(&self.all::<Node>(), "").await;
        self.seen.nodes = self.permitted("nodes", nodes)?;
        let driver = self.all::<CSIDriver>().get_opt(names::DRIVER).await;
        self.seen.driver = self.permitted("the CSIDriver", driver)?.map(|found| found.is_some());
        Ok(())
    }

    /// Whether the Secrets exist that Datasets name. Their content is not read.
    async fn named_secrets(&mut self) -> anyhow::Result<()> {
        let of = |dataset: &Dataset| {
            let namespace = dataset.namespace().unwrap_or_default();
            secrets(dataset).into_iter().map(|secret| (namespace.clone(), secret.to_owned())).collect::<Vec<_>>()
        };
        let wanted: BTreeSet<Key> = self.seen.datasets.iter().flat_map(of).collect();
        for (namespace, name) in wanted {
            let found = self.own::<Secret>(&namespace).get_metadata_opt(&name).await;
            if let Some(found) = self.permitted(&format!("Secret {namespace}/{name}"), found)? {
                self.seen.secrets.insert((namespace, name), found.is_some());
            }
        }
        Ok(())
    }

    /// The pod's claims and their volumes; then the Datasets that the pod uses, which are judged too.
    async fn claims_and_volumes(&mut self) -> anyhow::Result<()> {
        let Some(pod) = self.seen.pod.as_ref().map(|seen| seen.pod.clone()) else { return Ok(()) };
        for (namespace, name) in volumes::claims(&pod) {
            let found = self.own::<PersistentVolumeClaim>(&namespace).get_opt(&name).await;
            let Some(found) = self.permitted(&format!("PersistentVolumeClaim {namespace}/{name}"), found)? else { continue };
            let bound_to = found.as_ref().and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
            self.seen.claims.insert((namespace, name), found);
            let Some(volume) = bound_to else { continue };
            let found = self.all::<PersistentVolume>().get_opt(&volume).await;
            if let Some(found) = self.permitted(&format!("PersistentVolume {volume}"), found)?.flatten() {
                self.seen.volumes.insert(volume, found);
            }
        }
        let used = volumes::uses(&self.seen, &pod).into_iter().filter_map(|volume| match volume {
            volumes::Use::Dataset(at) => Some((at.clone(), self.seen.known(&at)?.clone())),
            volumes::Use::Foreign | volumes::Use::Broken(_) => None,
        });
        let used: BTreeMap<Key, Dataset> = used.collect();
        self.seen.datasets = used.into_values().collect();
        self.named_secrets().await
    }
}

/// All objects, page by page.
async fn list<K: Clone + DeserializeOwned + Debug>(api: &Api<K>, labels: &str) -> kube::Result<Vec<K>> {
    let mut params = ListParams::default().limit(PAGE);
    if !labels.is_empty() {
        params = params.labels(labels);
    }
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}
