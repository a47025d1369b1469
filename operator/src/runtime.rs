//! The CacheRuntime controller: observe, validate, plan, apply, report.
//!
//! `observe` makes the only reads and `apply` the only writes; `choose`, `fit`, `validate`, `plan`, `peers` and `report` are pure.

mod apply;
mod choose;
mod controller;
mod daemon_set;
mod fit;
mod observe;
mod orphans;
mod peers;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod validate;

use forebay_crds::CacheRuntimeSpec;
use k8s_openapi::api::core::v1::Node;

pub(crate) use controller::run;
pub(crate) use daemon_set::Settings;
pub(crate) use observe::is_ready;
pub(crate) use orphans::orphans;

/// Whether a node is one that a runtime may choose.
pub(crate) fn may_lend(spec: &CacheRuntimeSpec, node: &Node, settings: &Settings) -> bool {
    let facts = observe::node_facts(node);
    choose::matches(spec, &facts) && fit::misfit(&spec.tiers, settings.memory, &facts).is_none()
}
