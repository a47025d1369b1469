//! Runs the five steps for each CacheRuntime, when something about it changed.

use std::sync::Arc;
use std::time::Duration;

use forebay_crds::CacheRuntime;
use forebay_crds::k8s::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use super::apply::{apply, write};
use super::observe::observe;
use super::plan::plan;
use super::report::{news, report};
use super::validate::validate;
use crate::context::Context;
use crate::controller::{self, Failed};
use crate::names;
use crate::stores::{Change, Stores};

/// Without any change everything is looked at so often.
const IDLE: Duration = Duration::from_secs(300);
/// How often it is looked whether agents have let go, and whether silence says something again.
const WAITING: Duration = Duration::from_secs(2);

/// Runs the controller until its future is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    controller::run("cacheruntime", context.clone(), context.stores.runtimes.clone(), concerned, |runtime, context| {
        Box::pin(reconcile(runtime, context))
    })
    .await;
}

/// The CacheRuntimes that a change concerns.
fn concerned(change: &Change, stores: &Stores) -> Vec<ObjectRef<CacheRuntime>> {
    let all = || stores.runtimes.state().iter().map(|runtime| ObjectRef::from_obj(&**runtime)).collect();
    match change {
        // Another runtime's tiers may have been in the way.
        Change::All | Change::Node => all(),
        Change::Runtime(name) | Change::Scale(name) | Change::Agents(name) | Change::Health(name) => vec![ObjectRef::new(name)],
        Change::Progress { .. } => vec![],
        Change::Dataset { namespace, name } => match stores.dataset(namespace, name) {
            Some(dataset) => vec![ObjectRef::new(&dataset.spec.runtime)],
            // It is gone, and so is what it named.
            None => all(),
        },
    }
}

async fn reconcile(runtime: Arc<CacheRuntime>, context: Arc<Context>) -> Result<Action, Failed> {
    if runtime.metadata.deletion_timestamp.is_some() && !runtime.finalizers().iter().any(|f| f == names::FINALIZER) {
        return Ok(Action::await_change());
    }
    let failed = |what: &'static str| move |source| Failed { what, source };
    let Some(observed) = observe(&context, runtime) else { return Ok(Action::await_change()) };
    let findings = validate(&observed);
    let plan = plan(&observed, &findings, &context.settings);
    if apply(&context, &observed, &plan).await.map_err(failed("apply"))? {
        return Ok(Action::await_change());
    }
    let status = report(&observed, &findings, &plan, Timestamp::now());
    let before = observed.runtime.status.clone().unwrap_or_default();
    if status != before {
        if let Some(wait) = context.writes.too_soon(&observed.uid, news(&before, &status)) {
            return Ok(Action::requeue(wait));
        }
        write(&context, &observed, &status).await.map_err(failed("write the status"))?;
        context.metrics.status_written();
        context.events.turned(&*observed.runtime, &before.conditions, &status.conditions).await;
    }
    let waiting = plan.end.is_some() || !plan.leaving.is_empty() || observed.settling || observed.deaf;
    Ok(Action::requeue(if waiting { WAITING } else { IDLE }))
}
