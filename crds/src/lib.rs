//! The contract of Forebay: what a [`Dataset`], a [`CacheRuntime`] and a [`CacheRuntimeScale`] say, in one place.
//!
//! - [`dataset`], [`runtime`], [`scale`]: the types, their defaults, printer columns and subresources.
//! - [`values`]: exact types for sizes, lengths of time, paths, sources; parsed once, written back unchanged.
//! - [`rules`]: every rule over several fields, once as CEL for the API server and beside it as Rust.
//! - [`mod@validate`]: all that is wrong with an object, each with its field, the problem and the remedy.
//! - [`manifest`]: YAML files of Datasets, CacheRuntimes and Secrets for the agent without a cluster.
//! - [`names`]: labels and annotations; [`pods`]: where agents are.
//! - [`words`]: how numbers and foreign texts are written for people.
//! - [`codegen`]: the CustomResourceDefinitions as YAML, checked in beside this crate and compared by a test.
//!
//! The crate does no I/O: it turns text into values and values into text.

pub mod codegen;
pub mod conditions;
pub mod dataset;
pub mod manifest;
pub mod names;
pub mod pods;
pub mod rules;
pub mod runtime;
pub mod scale;
pub mod validate;
pub mod values;
pub mod words;

mod schema_check;

pub use codegen::{crd_yaml, generated_files};
pub use dataset::{
    Access, Addressing, CacheStatus, CatalogStatus, Consistency, ConsistencyPolicy, Dataset, DatasetSpec, DatasetStatus,
    FailedFile, HandledStatus, HttpHeader, Mount, MountOptions, MountStatus, NodesStatus, Owner, Phase, Pin, Placement,
    PlacementPolicy, Prefetch, PrefetchOrder, PrefetchPolicy, PrefetchStatus, RefreshPolicy, RejectedObject, SecretRef, Summary,
    TierUsage,
};
pub use manifest::{ManifestError, Manifests};
pub use runtime::{CacheRuntime, CacheRuntimeSpec, CacheRuntimeStatus, Medium, Tier, TierStatus};
pub use scale::{CacheRuntimeScale, CacheRuntimeScaleSpec, CacheRuntimeScaleStatus};
pub use validate::{FieldError, validate, validate_runtime};

/// Kubernetes' own types that stand in this API's fields.
pub mod k8s {
    pub use k8s_openapi::api::core::v1::Toleration;
    pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
    pub use k8s_openapi::jiff;
}

/// API group of all kinds.
pub const GROUP: &str = "forebay.io";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of all kinds in a manifest.
pub const API_VERSION: &str = "forebay.io/v1alpha1";
