//! What there is to be: pure, and without a client.

use std::collections::BTreeMap;

use forebay_crds::{Dataset, DatasetStatus};
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource as _, ResourceExt as _};

use super::observe::Observed;
use super::release::Stage;
use crate::names;

/// Least size of a volume: nothing is smaller than this, not even an empty tree.
const LEAST: u64 = 1 << 20;

/// What is to be done for a Dataset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// It stays: its objects, as they are to be.
    Keep(Keep),
    /// It is being deleted.
    End(Stage),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keep {
    /// The finalizer is missing.
    pub(super) finalizer: bool,
    pub(super) volume: Option<Box<PersistentVolume>>,
    pub(super) claim: Option<Box<PersistentVolumeClaim>>,
    /// The volume belongs to a claim that is gone, and no other can ever have it.
    pub(super) remake_volume: bool,
    /// A claim of that name is somebody else's.
    pub(super) foreign_claim: bool,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    if let Some(ending) = &observed.ending {
        return Plan::End(super::release::stage(ending, observed));
    }
    let dataset = &*observed.dataset;
    let foreign_claim = observed.claim.as_ref().is_some_and(|claim| !is_ours(claim, &observed.uid));
    let remake_volume = stale(observed);
    let objects = !foreign_claim && !remake_volume;
    Plan::Keep(Keep {
        finalizer: !dataset.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER),
        volume: objects.then(|| Box::new(volume(observed))),
        claim: objects.then(|| Box::new(claim(observed))),
        remake_volume,
        foreign_claim,
    })
}

/// Whether the operator made the claim for this Dataset.
pub(super) fn is_ours(claim: &PersistentVolumeClaim, uid: &str) -> bool {
    claim.labels().get(names::DATASET_UID).is_some_and(|of| of == uid)
}

/// Kubernetes binds a volume to one claim, by uid. When somebody deleted the claim, the volume is of no more use.
fn stale(observed: &Observed) -> bool {
    let Some(volume) = &observed.volume else { return false };
    let bound_to = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|claim| claim.uid.as_deref());
    match (bound_to, &observed.claim) {
        (Some(bound), Some(claim)) => claim.uid().as_deref() != Some(bound),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn volume(observed: &Observed) -> PersistentVolume {
    let dataset = &*observed.dataset;
    let name = dataset.name_any();
    let attributes = BTreeMap::from([
        ("dataset".to_owned(), name.clone()),
        ("namespace".to_owned(), observed.namespace.clone()),
        ("uid".to_owned(), observed.uid.clone()),
    ]);
    let spec = PersistentVolumeSpec {
        access_modes: Some(vec![READ_ONLY_MANY.to_owned()]),
        capacity: Some(storage(size(dataset.status.as_ref()))),
        claim_ref: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            name: Some(name.clone()),
            namespace: Some(observed.namespace.clone()),
            ..ObjectReference::default()
        }),
        csi: Some(CSIPersistentVolumeSource {
            driver: names::DRIVER.to_owned(),
            volume_handle: format!("{}/{name}", observed.namespace),
            volume_attributes: Some(attributes),
            read_only: Some(true),
            ..CSIPersistentVolumeSource::default()
        }),
        // The finalizer deletes it; Kubernetes has no data of ours to reclaim.
        persistent_volume_reclaim_policy: Some("Retain".to_owned()),
        storage_class_name: Some(String::new()),
        volume_mode: Some("Filesystem".to_owned()),
        ..PersistentVolumeSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(names::volume(&observed.uid)),
        labels: Some(names::dataset_labels(&observed.uid)),
        ..ObjectMeta::default()
    };
    PersistentVolume { metadata, spec: Some(spec), status: None }
}

fn claim(observed: &Observed) -> PersistentVolumeClaim {
    let dataset = &*observed.dataset;
    // What a claim requests may not shrink and hardly grow, so that a Dataset's size cannot stand here.
    let resources = VolumeResourceRequirements { requests: Some(storage(LEAST)), limits: None };
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec![READ_ONLY_MANY.to_owned()]),
        resources: Some(resources),
        storage_class_name: Some(String::new()),
        volume_mode: Some("Filesystem".to_owned()),
        volume_name: Some(names::volume(&observed.uid)),
        ..PersistentVolumeClaimSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(dataset.name_any()),
        namespace: Some(observed.namespace.clone()),
        labels: Some(names::dataset_labels(&observed.uid)),
        owner_references: Some(vec![owner(dataset, &observed.uid)]),
        ..ObjectMeta::default()
    };
    PersistentVolumeClaim { metadata, spec: Some(spec), status: None }
}

const READ_ONLY_MANY: &str = "ReadOnlyMany";

fn owner(dataset: &Dataset, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: Dataset::api_version(&()).into_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: Dataset::kind(&()).into_owned(),
        name: dataset.name_any(),
        uid: uid.to_owned(),
    }
}

/// The size of the tree, as far as it is known.
fn size(status: Option<&DatasetStatus>) -> u64 {
    status.map_or(0, |status| status.catalog.bytes).max(LEAST)
}

fn storage(bytes: u64) -> BTreeMap<String, Quantity> {
    BTreeMap::from([("storage".to_owned(), Quantity(format!("{}Mi", bytes.div_ceil(1 << 20))))])
}

#[cfg(test)]
mod tests;
