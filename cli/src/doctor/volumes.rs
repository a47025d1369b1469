//! Which Datasets a pod's volumes show: pure.

use std::collections::BTreeMap;

use forebay_crds::names;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, Volume};
use kube::ResourceExt as _;

use super::Finding;
use super::observed::{Key, Observed};

/// Attributes of a volume that name its Dataset; the operator adds `uid` to its own.
const KNOWN: [&str; 3] = ["dataset", "namespace", "uid"];

/// What a volume of a pod comes to.
pub(super) enum Use {
    /// Somebody else's.
    Foreign,
    Dataset(Key),
    Broken(Finding),
}

/// What each volume of the pod comes to.
pub(super) fn uses(observed: &Observed, pod: &Pod) -> Vec<Use> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.map(|volume| of_volume(observed, volume, &namespace)).collect()
}

/// The claims that the pod's volumes name.
pub(super) fn claims(pod: &Pod) -> Vec<Key> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|claim| (namespace.clone(), claim.claim_name.clone())).collect()
}

/// The Dataset that a volume of our driver shows, which one of its attributes or its handle names.
pub(super) fn of_persistent(volume: &PersistentVolume) -> Option<Key> {
    let csi = volume.spec.as_ref()?.csi.as_ref().filter(|csi| csi.driver == names::DRIVER)?;
    let none = BTreeMap::new();
    let attributes = csi.volume_attributes.as_ref().unwrap_or(&none);
    match attributes.get("dataset") {
        Some(dataset) => named(dataset, attributes.get("namespace").map(String::as_str), ""),
        None => named(&csi.volume_handle, None, ""),
    }
}

fn of_volume(observed: &Observed, volume: &Volume, namespace: &str) -> Use {
    if let Some(claim) = &volume.persistent_volume_claim {
        return of_claim(observed, &volume.name, (namespace.to_owned(), claim.claim_name.clone()));
    }
    let Some(csi) = volume.csi.as_ref().filter(|csi| csi.driver == names::DRIVER) else { return Use::Foreign };
    let none = BTreeMap::new();
    let attributes = csi.volume_attributes.as_ref().unwrap_or(&none);
    let broken = |what: &str, why: String, remedy: String| {
        Use::Broken(Finding { about: format!("volume {}", volume.name), what: what.to_owned(), why, remedy })
    };
    let remedy = "set volumeAttributes to {dataset: NAME}, or {dataset: NAMESPACE/NAME} for one of another namespace".to_owned();
    if let Some(unknown) = attributes.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return broken("it has an attribute that the driver refuses", format!("volumeAttributes has {unknown}"), remedy);
    }
    match attributes.get("dataset").and_then(|dataset| named(dataset, attributes.get("namespace").map(String::as_str), namespace))
    {
        Some(dataset) => Use::Dataset(dataset),
        None => broken("it names no Dataset", "volumeAttributes has no usable `dataset`".to_owned(), remedy),
    }
}

fn of_claim(observed: &Observed, volume: &str, at: Key) -> Use {
    let (namespace, name) = &at;
    let broken = |what: &str, why: String, remedy: String| {
        Use::Broken(Finding { about: format!("volume {volume}"), what: what.to_owned(), why, remedy })
    };
    match observed.claims.get(&at) {
        // Not looked at.
        None => Use::Foreign,
        Some(None) => {
            let elsewhere = observed.known.iter().find(|dataset| dataset.name_any() == *name);
            let remedy = match elsewhere.map(super::observed::key) {
                Some(other) if other.0 == *namespace => {
                    format!("see the finding about Dataset {namespace}/{name}: its claim is not made")
                }
                Some((other, _)) => format!(
                    "a claim serves its own namespace only: mount Dataset {other}/{name} inline, by `csi: {{driver: {}, readOnly: true, \
                     volumeAttributes: {{dataset: {other}/{name}}}}}`, and add {namespace} to its spec.allowedNamespaces",
                    names::DRIVER
                ),
                None => format!("create Dataset {name} in namespace {namespace}, which makes the claim, or correct claimName"),
            };
            broken(
                "its claim does not exist",
                format!("there is no PersistentVolumeClaim {name} in namespace {namespace}"),
                remedy,
            )
        }
        Some(Some(claim)) => {
            let bound_to = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref());
            let dataset = bound_to.and_then(|volume| of_persistent(observed.volumes.get(volume)?));
            match dataset {
                Some(dataset) => Use::Dataset(dataset),
                // The operator makes claims of a Dataset's name, and marks them.
                None if claim.labels().contains_key(names::DATASET_UID) => Use::Dataset(at.clone()),
                None => Use::Foreign,
            }
        }
    }
}

/// `name` or `namespace/name`.
fn named(dataset: &str, namespace: Option<&str>, default: &str) -> Option<Key> {
    let (namespace, name) = match dataset.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (namespace.unwrap_or(default), dataset),
    };
    (!namespace.is_empty() && !name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
}
