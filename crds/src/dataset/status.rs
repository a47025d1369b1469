use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::{TreePath, human};

/// What a Dataset is. The operator writes it from the agents' reports; `forebay-agent status -o json` prints the same
/// for one node. Numbers are numbers; `summary` renders them for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::kubernetes_formats)]
pub struct DatasetStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the Dataset stands, in a word; the conditions say why. Its tree can be read in Prefetching, Ready and Degraded.
    pub phase: Phase,

    /// The conditions, one of each type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The tree as it was listed.
    pub catalog: CatalogStatus,

    /// What is cached. In a cluster: over all nodes, each file counted once.
    pub cache: CacheStatus,

    /// How fetching ahead goes.
    pub prefetch: PrefetchStatus,

    /// prefetch.policy OnFirstUse: when the first pod was seen that mounts the Dataset or waits for a node to do so. Absent before,
    /// under other policies, and always without a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Time>,

    /// The nodes that serve the Dataset.
    pub nodes: NodesStatus,

    /// The PersistentVolumeClaim that pods mount. Absent until it is bound, and always without a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,

    /// The newest wishes that all nodes have carried out. Always empty without a cluster.
    #[serde(skip_serializing_if = "HandledStatus::is_empty")]
    pub handled: HandledStatus,

    /// The numbers above, for people.
    pub summary: Summary,
}

/// Where a Dataset stands.
///
/// The tree can be read in Prefetching, Ready and Degraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Accepted; nothing is done yet, or something that it needs does not exist yet.
    #[default]
    Pending,
    /// The first listing of the stores is under way; the tree appears when it is complete.
    Listing,
    /// Listed and served; data that was asked for ahead is still being fetched.
    Prefetching,
    /// Listed, served, and all that was asked for ahead is cached.
    Ready,
    /// Served, but less well than asked for: files failed to fetch, a store is not reachable, nodes are missing.
    Degraded,
    /// Not served: the spec is not valid or no listing could be made. The conditions say what to do.
    Failed,
}

/// The tree as it was listed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CatalogStatus {
    /// Files in the tree.
    pub files: u64,
    /// Bytes in the tree.
    pub bytes: u64,
    /// Number of the listing in use, from 1; 0 before the first.
    pub generation: u64,
    /// When that listing was completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Time>,
    /// Objects in the stores that could not become files of the tree.
    pub rejected: u64,
    /// Some of them, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub rejected_sample: Vec<RejectedObject>,
    /// The mounts, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountStatus>,
}

impl CatalogStatus {
    /// Most entries of `rejected_sample`.
    pub const SAMPLE: usize = 20;
}

/// One mount of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountStatus {
    /// The mount's path.
    pub path: TreePath,
    /// Files that the tree has from it.
    #[serde(default)]
    pub files: u64,
    /// Bytes that the tree has from it.
    #[serde(default)]
    pub bytes: u64,
    /// Why the last listing or fetch from it failed. Absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An object that could not become a file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedObject {
    /// Path of the mount.
    pub mount: TreePath,
    /// The object's key, with bytes that are not UTF-8 escaped.
    pub key: String,
    /// Why, for people.
    pub reason: String,
}

/// What is cached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheStatus {
    /// Bytes cached.
    pub bytes: u64,
    /// `bytes` of `catalog.bytes`, in whole percent, rounded down: 100 only when all is cached.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// Bytes that nothing evicts.
    pub pinned_bytes: u64,
    /// Share of the bytes read since the start that came from the cache, 0 to 1. Absent before the first read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_ratio: Option<f64>,
    /// The tiers, fastest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierUsage>,
}

/// What a tier holds of a Dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierUsage {
    /// The tier's name.
    pub name: String,
    /// Bytes cached in it.
    pub bytes: u64,
    /// Bytes pinned in it.
    pub pinned_bytes: u64,
}

/// How fetching ahead goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrefetchStatus {
    /// Bytes fetched of `totalBytes`.
    pub done_bytes: u64,
    /// Bytes to fetch.
    pub total_bytes: u64,
    /// Files fetched of `totalFiles`.
    pub done_files: u64,
    /// Files to fetch.
    pub total_files: u64,
    /// Rate over the last seconds.
    pub bytes_per_second: u64,
    /// When the rest is fetched at that rate. Absent when nothing is left or nothing moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_completion: Option<Time>,
    /// Files that could not be fetched.
    pub failed_files: u64,
    /// Some of them, at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failed: Vec<FailedFile>,
}

impl PrefetchStatus {
    /// Most entries of `failed`.
    pub const SAMPLE: usize = 20;
}

/// A file that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedFile {
    /// The file's path in the tree.
    pub path: String,
    /// Why, and what to do.
    pub error: String,
}

/// The nodes that serve a Dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodesStatus {
    /// Nodes that serve it.
    pub ready: u32,
    /// Nodes that are to serve it.
    pub desired: u32,
}

/// Wishes that all nodes have carried out, as the Dataset's annotations word them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HandledStatus {
    /// The value of the annotation `forebay.io/refresh` with which the stores were last listed anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// The first line of the annotation `forebay.io/evict` with which cached data was last dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evict: Option<String>,
}

impl HandledStatus {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A status in the words of `kubectl get datasets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// `catalog.bytes`, such as `139Gi`.
    pub size: String,
    /// `cache.percent`, such as `42%`.
    pub cached: String,
    /// `nodes`, such as `3/4`.
    pub nodes: String,
    /// `cache.hitRatio`, such as `97.1%`; empty before the first read.
    pub hit_ratio: String,
}

impl DatasetStatus {
    /// Derives `cache.percent` and `summary` from the other numbers. Call it when those are set.
    pub fn summarize(&mut self) {
        let listed = self.catalog.generation > 0;
        self.cache.percent = if listed { percent(self.cache.bytes, self.catalog.bytes) } else { 0 };
        self.summary = Summary {
            size: human(self.catalog.bytes),
            cached: format!("{}%", self.cache.percent),
            nodes: format!("{}/{}", self.nodes.ready, self.nodes.desired),
            hit_ratio: self.cache.hit_ratio.map(|ratio| format!("{:.1}%", ratio * 100.0)).unwrap_or_default(),
        };
    }
}

/// `part` of `whole` in whole percent, rounded down and at most 100. Nothing of nothing is all: 100.
fn percent(part: u64, whole: u64) -> u32 {
    if part >= whole {
        return 100;
    }
    // part < whole, so the quotient is below 100.
    u32::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(100)
}
