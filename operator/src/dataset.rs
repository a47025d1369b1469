//! The Dataset controller: observe, validate, plan, apply, report.
//!
//! `observe` makes the only reads and `apply` the only writes; `validate`, `plan`, `merge` and `report` are pure.

mod apply;
mod controller;
mod merge;
mod observe;
mod plan;
mod release;
mod report;
#[cfg(test)]
mod tests;
pub(crate) mod usage;
mod validate;

use std::collections::BTreeSet;

use forebay_crds::names::Eviction;
use forebay_crds::values::SourceKind;
use forebay_crds::{CacheRuntimeSpec, Dataset, DatasetSpec, conditions};
use kube::ResourceExt as _;

use crate::names;

pub(crate) use controller::run;

/// The Secrets that a Dataset's mounts name, each once.
pub(crate) fn secret_names(spec: &DatasetSpec) -> BTreeSet<&str> {
    spec.mounts.iter().filter_map(|mount| mount.secret_ref.as_ref()).map(|secret| &*secret.name).collect()
}

/// The directories of nodes that a Dataset mounts and its runtime does not allow.
pub(crate) fn unallowed_paths(spec: &DatasetSpec, runtime: &CacheRuntimeSpec) -> Vec<String> {
    let allowed = |path: &str| {
        let within = |outer: &str| path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        runtime.allowed_host_paths.iter().any(|outer| within(outer.as_str()))
    };
    spec.mounts
        .iter()
        .filter_map(|mount| match mount.source.kind() {
            SourceKind::File { path } => Some(path.clone()),
            _ => None,
        })
        .filter(|path| !allowed(path))
        .collect()
}

/// The value of an annotation that asks for something.
pub(crate) fn asked<'a>(dataset: &'a Dataset, annotation: &str) -> Option<&'a str> {
    dataset.annotations().get(annotation).map(String::as_str).filter(|wish| !wish.is_empty())
}

/// What is to be dropped from the caches. An annotation that cannot be understood drops nothing.
pub(crate) fn eviction(dataset: &Dataset) -> Option<Eviction> {
    asked(dataset, names::EVICT)?.parse().ok()
}

/// Whether a Dataset is being deleted and its nodes are to let go of it. Its status remembers, whichever replica leads.
pub(crate) fn is_releasing(dataset: &Dataset) -> bool {
    let said = dataset.status.iter().flat_map(|status| &status.conditions);
    dataset.metadata.deletion_timestamp.is_some()
        && said
            .into_iter()
            .any(|condition| condition.type_ == conditions::dataset::DELETED && condition.reason == conditions::reason::RELEASING)
}
