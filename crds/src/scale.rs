//! `CacheRuntimeScale`: how many nodes of a CacheRuntime lend space, for autoscalers, which look for what they scale in a namespace.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat each other's types")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::values::DnsLabel;

/// How many nodes of which CacheRuntime are to lend space.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "forebay.io",
    version = "v1alpha1",
    kind = "CacheRuntimeScale",
    plural = "cacheruntimescales",
    shortname = "crscale",
    category = "forebay",
    namespaced,
    status = "CacheRuntimeScaleStatus",
    derive = "PartialEq",
    doc = "A CacheRuntimeScale in the operator's namespace says in place of a CacheRuntime's spec.replicas how many nodes lend space: what a HorizontalPodAutoscaler or KEDA scales.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Runtime", type_ = "string", json_path = ".spec.runtime", description = "The CacheRuntime"),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Nodes that are to lend space, at most"
    ),
    printcolumn(name = "Agents", type_ = "integer", json_path = ".status.replicas", description = "Agents that exist"),
    printcolumn(
        name = "In effect",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"InEffect\")].status",
        description = "Whether the CacheRuntime goes by it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::attach::<CacheRuntimeScaleSpec>)]
pub struct CacheRuntimeScaleSpec {
    /// The CacheRuntime. It does not change.
    pub runtime: DnsLabel,

    /// At most so many of its nodes lend space. Leave it out where an autoscaler sets it: who applies the manifest again would set it back.
    /// 0: none; what is cached is given up, and a HorizontalPodAutoscaler leaves it alone.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: u32,
}

fn one() -> u32 {
    1
}

/// What a CacheRuntimeScale has come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::kubernetes_formats)]
pub struct CacheRuntimeScaleStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The conditions, one of each type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Agents that exist.
    pub replicas: u32,

    /// Label selector of the agents' pods, which are in this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}
