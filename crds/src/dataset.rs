//! `Dataset`: one tree over any number of remote stores, cached where a CacheRuntime lends space.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat each other's types and priorities")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::{ByteSize, DnsName, NamespaceName, TimeSpan};

mod mount;
mod policy;
mod status;

pub use mount::{Addressing, HttpHeader, Mount, MountOptions, SecretRef};
pub use policy::{
    Access, Consistency, ConsistencyPolicy, Owner, Pin, Placement, PlacementPolicy, Prefetch, PrefetchOrder, PrefetchPolicy,
    RefreshPolicy,
};
pub use status::{
    CacheStatus, CatalogStatus, DatasetStatus, FailedFile, HandledStatus, MountStatus, NodesStatus, Phase, PrefetchStatus,
    RejectedObject, Summary, TierUsage,
};

/// What a Dataset is to be.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "forebay.io",
    version = "v1alpha1",
    kind = "Dataset",
    plural = "datasets",
    shortname = "dset",
    category = "forebay",
    namespaced,
    status = "DatasetStatus",
    derive = "PartialEq",
    doc = "A Dataset is one read-only tree of files over any number of remote stores, cached in the memory and on the disks that its CacheRuntime lends.",
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.catalog.files", description = "Files in the tree"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.summary.size", description = "Bytes in the tree"),
    printcolumn(
        name = "Cached",
        type_ = "string",
        json_path = ".status.summary.cached",
        description = "Share of the bytes that is cached"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the Dataset stands"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Nodes",
        type_ = "string",
        json_path = ".status.summary.nodes",
        description = "Nodes ready of those desired",
        priority = 1
    ),
    printcolumn(
        name = "Hit Ratio",
        type_ = "string",
        json_path = ".status.summary.hitRatio",
        description = "Share of the bytes read that came from the cache",
        priority = 1
    ),
    printcolumn(
        name = "Claim",
        type_ = "string",
        json_path = ".status.claim",
        description = "PersistentVolumeClaim that pods mount",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<DatasetSpec>)]
pub struct DatasetSpec {
    /// The CacheRuntime whose nodes cache this Dataset. It may be changed: the data is then cached anew there.
    #[serde(default = "default_runtime")]
    pub runtime: DnsName,

    /// The stores that make up the tree, each under its own path. Where one mount's path lies inside another's, the
    /// deeper mount hides what the outer store has there.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub mounts: Vec<Mount>,

    /// What pods may do with the tree. ReadWrite is refused by this version.
    #[serde(default)]
    pub access: Access,

    /// Owner and permissions that files and directories show.
    #[serde(default)]
    pub owner: Owner,

    /// When changes in the stores become visible.
    #[serde(default)]
    pub consistency: Consistency,

    /// What is fetched before anyone reads it.
    #[serde(default)]
    pub prefetch: Prefetch,

    /// What is fetched and then never evicted.
    #[serde(default)]
    pub pin: Pin,

    /// Cached data that was not read for so long, such as 30d, is given up. Absent: only for want of space. Pinned data stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<TimeSpan>,

    /// Which nodes hold the data.
    #[serde(default)]
    pub placement: Placement,

    /// A new node takes no pods before what this Dataset fetches ahead or pins is on it, or the CacheRuntime's
    /// `warmUp.timeout` has passed. Only of nodes that carry the startup taint forebay.io/warming.
    #[serde(default)]
    pub warm_before_scheduling: bool,

    /// Most space that the Dataset takes in the cache of one node, such as 500Gi. Absent: as much as the tiers have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,

    /// Other namespaces whose pods may mount the Dataset; "*" stands for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<NamespaceName>,
}

/// Name of the CacheRuntime that serves a Dataset which names none.
pub const DEFAULT_RUNTIME: &str = "default";

#[expect(clippy::expect_used, reason = "a constant of this file, parsed in every test that reads a Dataset")]
fn default_runtime() -> DnsName {
    DEFAULT_RUNTIME.parse().expect("DEFAULT_RUNTIME is a name")
}

impl DatasetSpec {
    /// A Dataset of `mounts` with every default.
    pub fn of(mounts: Vec<Mount>) -> Self {
        Self {
            runtime: default_runtime(),
            mounts,
            access: Access::default(),
            owner: Owner::default(),
            consistency: Consistency::default(),
            prefetch: Prefetch::default(),
            pin: Pin::default(),
            ttl: None,
            placement: Placement::default(),
            warm_before_scheduling: false,
            quota: None,
            allowed_namespaces: Vec::new(),
        }
    }

    /// Whether pods of `namespace` may use the Dataset, which is of namespace `own`.
    pub fn grants(&self, own: &str, namespace: &str) -> bool {
        own == namespace
            || self.allowed_namespaces.iter().any(|allowed| matches!(allowed.as_str(), "*") || allowed.as_str() == namespace)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    #[test]
    fn a_namespace_uses_its_own_datasets_and_those_that_grant_it() {
        let table: [(&[&str], &str, bool); 5] = [
            (&[], "ml", true),
            (&[], "research", false),
            (&["research"], "research", true),
            (&["research"], "other", false),
            (&["*"], "other", true),
        ];
        for (allowed, namespace, expected) in table {
            let mut spec = DatasetSpec::of(Vec::new());
            spec.allowed_namespaces = allowed.iter().map(|name| name.parse().unwrap()).collect();
            assert_eq!(spec.grants("ml", namespace), expected, "{allowed:?} {namespace}");
        }
    }
}
