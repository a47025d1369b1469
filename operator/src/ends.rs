//! How objects end: finalizers and deletions, of the very object that was seen.

use std::fmt::Debug;

use kube::api::{DeleteParams, Patch, Preconditions};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::ssa;

/// Sets the finalizers of this field manager; those of others stay. Nothing happens to an object that is gone.
pub(crate) async fn set_finalizers<K>(api: &Api<K>, object: &K, finalizers: &[&str]) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // With the uid in it the object is not made anew where it is gone.
    let mut metadata = json!({"name": object.name_any(), "uid": object.uid(), "finalizers": finalizers});
    if let Some(namespace) = object.namespace() {
        metadata["namespace"] = namespace.into();
    }
    let body = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata});
    ssa::gone_is_done(api.patch(&object.name_any(), &ssa::params(), &Patch::Apply(&body)).await.map(drop))
}

/// Deletes the object, if it is still there and nobody has yet.
pub(crate) async fn delete<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if object.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    delete_named(api, &object.name_any(), object.uid()).await
}

/// Deletes the object of this name, if it still is the one with this uid.
pub(crate) async fn delete_named<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<(), kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let preconditions = Some(Preconditions { uid, resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::background() };
    ssa::gone_is_done(api.delete(name, &params).await.map(drop))
}
