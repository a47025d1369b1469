//! `CacheRuntime`: which nodes lend how much memory and disk.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat each other's types and priorities")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::{ByteSize, DnsLabel, HostPath, Reserve, TimeSpan, human};

/// What a CacheRuntime is to be.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "forebay.io",
    version = "v1alpha1",
    kind = "CacheRuntime",
    plural = "cacheruntimes",
    shortname = "cr",
    category = "forebay",
    status = "CacheRuntimeStatus",
    derive = "PartialEq",
    doc = "A CacheRuntime says which nodes lend how much memory and disk to Datasets.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.summary.ready",
        description = "Agents ready of those desired"
    ),
    printcolumn(
        name = "Capacity",
        type_ = "string",
        json_path = ".status.summary.capacity",
        description = "Space lent by all nodes"
    ),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.summary.used", description = "Space in use"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Datasets",
        type_ = "integer",
        json_path = ".status.datasets",
        description = "Datasets served",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<CacheRuntimeSpec>)]
pub struct CacheRuntimeSpec {
    /// Labels of the nodes that lend space. Empty: every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that do not keep agents away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,

    /// At most so many of the nodes lend space. Absent: all of them. 0: none; what is cached is given up. While there is a
    /// CacheRuntimeScale for this CacheRuntime, that one's number counts instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<u32>,

    /// The places where data is cached, fastest first.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tiers: Vec<Tier>,

    /// Directories of the nodes that Datasets may mount by file:// sources in a cluster, with all below them.
    /// Empty: none. An agent without a cluster reads what its own user may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_host_paths: Vec<HostPath>,

    /// How long nodes that come take no pods yet.
    #[serde(default)]
    pub warm_up: WarmUp,

    /// What agents may cost the network between them.
    #[serde(default)]
    pub peers: Peers,
}

/// What agents may cost the network between them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<Peers>)]
pub struct Peers {
    /// Most bytes a second that one agent sends to all others together, such as 2Gi. What readers wait for goes first. What
    /// would wait for seconds comes from the store. Absent: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<ByteSize>,
}

/// How long nodes that come take no pods yet.
///
/// A node that carries the startup taint forebay.io/warming, which whoever makes the nodes puts on them, has it lifted when its
/// agent serves and has what the Datasets with `warmBeforeScheduling` fetch ahead or pin, or when `timeout` has passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::attach::<WarmUp>)]
pub struct WarmUp {
    /// After so long the taint is lifted whatever is missing, such as 10m. Counted from the operator's first sight of it.
    pub timeout: TimeSpan,

    /// Whether nodes get the condition forebay.io/WarmUpComplete, which a NodeReadinessRule can wait for; with it nodes need no
    /// taint forebay.io/warming. It turns True once, for the same reasons for which the taint is lifted.
    pub node_condition: bool,
}

impl Default for WarmUp {
    fn default() -> Self {
        Self { timeout: TimeSpan::from_mins(10), node_condition: false }
    }
}

/// A place on each node where data is cached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<Tier>)]
pub struct Tier {
    /// The tier's name, which prefetch refers to.
    pub name: DnsLabel,

    /// Memory: a tmpfs. Disk: the directory `path`. It does not change.
    pub medium: Medium,

    /// Disk: directory on the node. It does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HostPath>,

    /// Most space that the tier takes on one node, such as 64Gi.
    pub capacity: ByteSize,

    /// Disk: space of the file system that the tier leaves free, whatever takes it: a size, or a share such as 10%.
    #[serde(default = "default_reserve")]
    pub reserve: Reserve,
}

impl Tier {
    /// A tier in a directory of the node, with every default.
    pub fn disk(name: DnsLabel, path: HostPath, capacity: ByteSize) -> Self {
        Self { name, medium: Medium::Disk, path: Some(path), capacity, reserve: default_reserve() }
    }

    /// A tier in memory.
    pub fn memory(name: DnsLabel, capacity: ByteSize) -> Self {
        Self { name, medium: Medium::Memory, path: None, capacity, reserve: default_reserve() }
    }
}

/// What a tier is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Medium {
    /// Memory of the node, as a tmpfs.
    Memory,
    /// A directory on a disk of the node.
    Disk,
}

/// Share of a file system that a tier leaves free unless told otherwise.
pub const DEFAULT_RESERVE: &str = "10%";

#[expect(clippy::expect_used, reason = "a constant of this file, parsed in every test that reads a CacheRuntime")]
fn default_reserve() -> Reserve {
    DEFAULT_RESERVE.parse().expect("DEFAULT_RESERVE is a reserve")
}

/// What a CacheRuntime is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::kubernetes_formats)]
pub struct CacheRuntimeStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The conditions, one of each type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Agents that exist.
    pub replicas: u32,

    /// Agents that serve.
    pub ready_replicas: u32,

    /// Agents that are to exist.
    pub desired_replicas: u32,

    /// The CacheRuntimeScale that says how many nodes lend space, as `namespace/name`. Absent: `spec.replicas` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaled_by: Option<String>,

    /// Label selector of the agents' pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Datasets that name this runtime.
    pub datasets: u32,

    /// The tiers over all nodes, in the spec's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierStatus>,

    /// The numbers above, for people.
    pub summary: RuntimeSummary,
}

/// A tier over all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierStatus {
    /// The tier's name.
    pub name: String,
    /// Space lent, after the reserve.
    pub capacity_bytes: u64,
    /// Space in use.
    pub used_bytes: u64,
    /// Space that nothing evicts.
    pub pinned_bytes: u64,
}

/// A status in the words of `kubectl get cacheruntimes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeSummary {
    /// Agents ready of those desired, such as `3/4`.
    pub ready: String,
    /// Space lent, such as `3.20Ti`.
    pub capacity: String,
    /// Space in use.
    pub used: String,
}

impl CacheRuntimeStatus {
    /// Derives `summary` from the other numbers. Call it when those are set.
    pub fn summarize(&mut self) {
        let sum = |bytes: fn(&TierStatus) -> u64| human(self.tiers.iter().map(bytes).fold(0, u64::saturating_add));
        self.summary = RuntimeSummary {
            ready: format!("{}/{}", self.ready_replicas, self.desired_replicas),
            capacity: sum(|tier| tier.capacity_bytes),
            used: sum(|tier| tier.used_bytes),
        };
    }
}
