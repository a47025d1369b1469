use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::{DnsLabel, FileMode, TimeSpan, TreePath};

/// What pods may do with the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// Read.
    #[default]
    ReadOnly,
    /// Read and write. Refused by this version: it needs `spec.write`, which comes with durable writes.
    ReadWrite,
}

/// Owner and permissions that files and directories show. Stores do not say; these are for all of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    /// User id. Absent: the user that mounts; root in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub uid: Option<u32>,

    /// Group id. Absent: the group of the process that mounts; root's in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub gid: Option<u32>,

    /// Permissions of files, in octal and in quotes.
    pub file_mode: FileMode,

    /// Permissions of directories, in octal and in quotes.
    pub dir_mode: FileMode,
}

impl Default for Owner {
    fn default() -> Self {
        Self { uid: None, gid: None, file_mode: FileMode::from_bits(0o444), dir_mode: FileMode::from_bits(0o555) }
    }
}

/// When changes in the stores become visible.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<Consistency>)]
pub struct Consistency {
    /// Snapshot: the stores are listed once, until the Dataset is refreshed. MaxAge: they are listed again when the listing is
    /// older than maxAge. Validate: each file is compared with its store when it is opened.
    pub policy: ConsistencyPolicy,

    /// MaxAge: how old a listing may be before the stores are listed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<TimeSpan>,

    /// Who sees a refreshed Snapshot. AtOnce: every pod, those that run already too. NewPods: pods that start after it; those that run
    /// keep names and files as they began, and where the kernel can, names and pinned files are read without any process of Forebay.
    pub refresh: RefreshPolicy,
}

/// Who sees a new listing of a Snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefreshPolicy {
    /// Every pod, at once.
    #[default]
    AtOnce,
    /// Pods that start after it; a pod that runs keeps the tree that it began with.
    NewPods,
}

/// How a Dataset follows its stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConsistencyPolicy {
    /// Listed once; stays as it is until the Dataset is refreshed.
    #[default]
    Snapshot,
    /// Listed again when the listing is older than `maxAge`.
    MaxAge,
    /// Each file is compared with its store when it is opened.
    Validate,
}

/// What is fetched before anyone reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<Prefetch>)]
pub struct Prefetch {
    /// OnDemand: data is fetched when it is first read. Eager: as soon as the tree is listed. OnFirstUse: as Eager, from the first
    /// pod on that mounts the Dataset, also one that waits for a node; until then nothing. Without a cluster the same as Eager.
    pub policy: PrefetchPolicy,

    /// Eager, OnFirstUse: files and directories to fetch, in this order.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "set"))]
    pub paths: Vec<TreePath>,

    /// Eager, OnFirstUse: name of the tier to fetch into. Absent: the first with space, in the CacheRuntime's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<DnsLabel>,

    /// Eager, OnFirstUse: order of the files within each path. Path: as a reader that walks the tree meets them.
    /// SmallestFirst: the most files ready soonest. LargestFirst: the most bytes.
    pub order: PrefetchOrder,

    /// Eager, OnFirstUse: most files fetched at a time on one node.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self {
            policy: PrefetchPolicy::default(),
            paths: vec![TreePath::root()],
            tier: None,
            order: PrefetchOrder::default(),
            concurrency: 16,
        }
    }
}

/// Whether data is fetched ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrefetchPolicy {
    /// Data is fetched when it is first read.
    #[default]
    OnDemand,
    /// Data is fetched as soon as the tree is listed.
    Eager,
    /// Data is fetched as soon as a pod mounts the Dataset or waits for a node to do so.
    OnFirstUse,
}

impl PrefetchPolicy {
    /// Whether anything is ever fetched ahead.
    pub fn fetches_ahead(self) -> bool {
        match self {
            Self::OnDemand => false,
            Self::Eager | Self::OnFirstUse => true,
        }
    }
}

/// Which file is fetched first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrefetchOrder {
    /// By path, so that a reader that walks the tree finds what it needs next.
    #[default]
    Path,
    /// The most files ready soonest.
    SmallestFirst,
    /// The most bytes ready soonest.
    LargestFirst,
}

/// What is fetched and then never evicted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pin {
    /// Files and directories to pin. Empty: nothing is pinned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"))]
    pub paths: Vec<TreePath>,
}

/// Which nodes hold the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<Placement>)]
pub struct Placement {
    /// EveryNode: each node holds the working set. Sharded: each file is held by `replicas` nodes, and the others read it
    /// from them.
    pub policy: PlacementPolicy,

    /// Sharded: how many nodes hold each file. Absent: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<u32>,
}

impl Placement {
    /// How many nodes hold each file; `None` stands for every node of the runtime.
    pub fn copies(&self) -> Option<u32> {
        match self.policy {
            PlacementPolicy::EveryNode => None,
            PlacementPolicy::Sharded => Some(self.replicas.unwrap_or(1)),
        }
    }
}

/// How data is spread over nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlacementPolicy {
    /// Each node holds the working set.
    #[default]
    EveryNode,
    /// Each file is held by `replicas` nodes; the others read it from them.
    Sharded,
}
