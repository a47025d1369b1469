//! Makes it so: the only writes of the CacheRuntime controller.

use forebay_crds::{CacheRuntime, CacheRuntimeStatus};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::time::Instant;

use super::observe::Observed;
use super::peers::peers;
use super::plan::{End, Plan};
use crate::context::Context;
use crate::ends::{delete, delete_named, set_finalizers};
use crate::{names, ssa};

/// Whether the object is gone with that.
pub(super) async fn apply(context: &Context, observed: &Observed, plan: &Plan) -> Result<bool, kube::Error> {
    let Plan { finalizer, daemon_set, chosen, leaving: _, going, unwanted, held: _, handing: _, misfits: _, outdated, end } =
        plan;
    let runtimes: Api<CacheRuntime> = Api::all(context.client.clone());
    let sets: Api<DaemonSet> = Api::namespaced(context.client.clone(), &context.namespace);
    if *finalizer {
        set_finalizers(&runtimes, &*observed.runtime, &[names::FINALIZER]).await?;
    }
    context.published.set_leaving(&observed.name, unwanted);
    context.published.set_peers(&observed.name, peers(observed, going));
    let now = Instant::now();
    context.going.set(&observed.name, going, now);
    context.leaving.set(&observed.name, unwanted, now);
    context.set_chosen(&observed.name, chosen);
    match end {
        None => {
            if let Some(set) = daemon_set {
                ssa::apply(&sets, (**set).clone(), observed.daemon_set.as_deref()).await?;
            }
        }
        Some(End::InUse(_) | End::Releasing(_)) => {}
        Some(End::Stopping(_)) => {
            if let Some(set) = observed.daemon_set.as_deref() {
                delete(&sets, set).await?;
            }
        }
        Some(End::Over) => {
            set_finalizers(&runtimes, &*observed.runtime, &[]).await?;
            context.releasing.forget(&observed.uid);
            context.forget_runtime(&observed.name);
            return Ok(true);
        }
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    for pod in outdated {
        tracing::info!(pod = pod.name, "an agent's pod is of an older make, it is made anew");
        delete_named(&pods, &pod.name, Some(pod.uid.clone())).await?;
    }
    Ok(false)
}

/// Writes the status.
pub(super) async fn write(context: &Context, observed: &Observed, status: &CacheRuntimeStatus) -> Result<(), kube::Error> {
    let runtimes: Api<CacheRuntime> = Api::all(context.client.clone());
    ssa::write_status(&runtimes, &*observed.runtime, status).await
}
