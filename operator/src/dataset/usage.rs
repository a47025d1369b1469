//! Pods that use a Dataset. Asked only when one is deleted; one look serves all that are asked for at about that time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, PersistentVolume, Pod, Volume};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::names;

/// How old a look may be.
const FRESH: Duration = Duration::from_secs(3);
/// Objects a page.
const PAGE: u32 = 500;

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct User {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who uses what, as of the last look.
#[derive(Default)]
pub(crate) struct Usage(Mutex<Option<(Instant, Arc<Look>)>>);

/// Users by the Dataset's namespace and name.
type Look = HashMap<(String, String), Vec<User>>;

impl Usage {
    /// The pods on nodes that use a Dataset, in order.
    pub(crate) async fn users_of(&self, client: &Client, namespace: &str, name: &str) -> Result<Vec<User>, kube::Error> {
        let mut last = self.0.lock().await;
        let look = match &*last {
            Some((at, look)) if at.elapsed() < FRESH => look.clone(),
            _ => {
                let volumes = list::<PersistentVolume>(client).await?;
                let pods = list::<Pod>(client).await?;
                let look = Arc::new(look(&volumes, &pods));
                *last = Some((Instant::now(), look.clone()));
                look
            }
        };
        drop(last);
        Ok(look.get(&(namespace.to_owned(), name.to_owned())).cloned().unwrap_or_default())
    }
}

async fn list<K>(client: &Client) -> Result<Vec<K>, kube::Error>
where
    K: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
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

fn look(volumes: &[PersistentVolume], pods: &[Pod]) -> Look {
    // Claims by namespace and name, to the Dataset that the volume bound to them shows.
    let mut claims = HashMap::new();
    for volume in volumes {
        let Some(spec) = &volume.spec else { continue };
        let (Some(csi), Some(claim)) = (&spec.csi, &spec.claim_ref) else { continue };
        if let (Some(dataset), Some(namespace), Some(name)) = (dataset_of(csi), &claim.namespace, &claim.name) {
            claims.insert((namespace.clone(), name.clone()), dataset);
        }
    }
    let mut look: HashMap<(String, String), HashSet<User>> = HashMap::new();
    for pod in pods.iter().filter(|pod| holds_volumes(pod)) {
        let namespace = pod.namespace().unwrap_or_default();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            if let Some(dataset) = used(volume, &namespace, &claims) {
                look.entry(dataset).or_default().insert(User { namespace: namespace.clone(), name: pod.name_any() });
            }
        }
    }
    let sorted = |users: HashSet<User>| {
        let mut users: Vec<User> = users.into_iter().collect();
        users.sort();
        users
    };
    look.into_iter().map(|(dataset, users)| (dataset, sorted(users))).collect()
}

/// Whether the pod has its volumes: it is on a node and has not ended. As Kubernetes' own protection of claims sees it.
fn holds_volumes(pod: &Pod) -> bool {
    let on_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    on_node && !matches!(phase, Some("Succeeded" | "Failed"))
}

type Claims = HashMap<(String, String), (String, String)>;

fn used(volume: &Volume, namespace: &str, claims: &Claims) -> Option<(String, String)> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return claims.get(&(namespace.to_owned(), claim.claim_name.clone())).cloned();
    }
    let csi = volume.csi.as_ref().filter(|csi| csi.driver == names::DRIVER)?;
    let attributes = csi.volume_attributes.as_ref()?;
    named(attributes.get("dataset")?, attributes.get("namespace").map(String::as_str), namespace)
}

fn dataset_of(csi: &CSIPersistentVolumeSource) -> Option<(String, String)> {
    if csi.driver != names::DRIVER {
        return None;
    }
    let attributes = csi.volume_attributes.as_ref();
    let attribute = |key: &str| attributes.and_then(|attributes| attributes.get(key));
    match attribute("dataset") {
        Some(dataset) => named(dataset, attribute("namespace").map(String::as_str), ""),
        None => named(&csi.volume_handle, None, ""),
    }
}

/// `name` or `namespace/name`.
pub(crate) fn named(dataset: &str, namespace: Option<&str>, default: &str) -> Option<(String, String)> {
    let (namespace, name) = match dataset.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (namespace.unwrap_or(default), dataset),
    };
    (!namespace.is_empty() && !name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests;
