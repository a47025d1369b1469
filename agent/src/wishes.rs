//! From the manifest's words to what a Dataset of this node is told.

use std::time::Duration;

use forebay_crds::dataset::{ConsistencyPolicy, Dataset as DatasetObject, PrefetchPolicy};
use forebay_dataset::{Consistency, Prefetch, Settings};
use forebay_fs::Owner;

/// Names of a Validate Dataset's tree are listed anew at this age unless it says otherwise.
const VALIDATE_NAMES: Duration = Duration::from_secs(600);
/// Memory for sorting a listing; more entries go through temporary files.
const LISTING_MEMORY: usize = 32 << 20;

/// `namespace/name`.
pub(crate) fn full_name(object: &DatasetObject) -> String {
    let (namespace, name) = names(object);
    format!("{namespace}/{name}")
}

/// Namespace and name.
pub(crate) fn names(object: &DatasetObject) -> (String, String) {
    let meta = &object.metadata;
    (meta.namespace.clone().unwrap_or_else(|| "default".into()), meta.name.clone().unwrap_or_default())
}

/// What the Dataset is told.
pub(crate) fn settings(object: &DatasetObject) -> Settings {
    let spec = &object.spec;
    let max_age = spec.consistency.max_age.as_ref().map(|age| age.duration());
    let paths = |paths: &[forebay_crds::values::TreePath]| paths.iter().map(|path| path.as_str().to_owned()).collect();
    Settings {
        name: full_name(object),
        consistency: match spec.consistency.policy {
            ConsistencyPolicy::Snapshot => Consistency::Snapshot,
            ConsistencyPolicy::MaxAge => Consistency::MaxAge(max_age.unwrap_or(VALIDATE_NAMES)),
            ConsistencyPolicy::Validate => Consistency::Validate(max_age.unwrap_or(VALIDATE_NAMES)),
        },
        prefetch: Prefetch {
            paths: match spec.prefetch.policy {
                PrefetchPolicy::OnDemand => Vec::new(),
                // Its agents a cluster's operator tells which of the two it is by now; without a cluster the mount is the first use.
                PrefetchPolicy::Eager | PrefetchPolicy::OnFirstUse => paths(&spec.prefetch.paths),
            },
            tier: spec.prefetch.tier.as_ref().map(|tier| tier.as_str().to_owned()),
            order: spec.prefetch.order,
            concurrency: usize::try_from(spec.prefetch.concurrency).unwrap_or(1),
        },
        pins: paths(&spec.pin.paths),
        quota: spec.quota.as_ref().map(|quota| quota.bytes()),
        ttl: spec.ttl.as_ref().map(|ttl| ttl.duration()),
        listing_memory: LISTING_MEMORY,
    }
}

/// Who owns what the tree shows.
pub(crate) fn owner(object: &DatasetObject) -> Owner {
    let owner = &object.spec.owner;
    Owner {
        uid: owner.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: owner.gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
        file_mode: owner.file_mode.bits(),
        dir_mode: owner.dir_mode.bits(),
    }
}
