//! Runs the five steps for each Dataset, when something about it changed.

use std::sync::Arc;
use std::time::Duration;

use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use super::apply::{apply, write};
use super::observe::{Observed, observe};
use super::plan::plan;
use super::release::Stage;
use super::report::{findings, news, report};
use crate::context::Context;
use crate::controller::{self, Failed};
use crate::demand::FirstUse;
use crate::stores::{Change, Stores};

/// Without any change everything is looked at so often.
const IDLE: Duration = Duration::from_secs(300);
/// How often it is looked whether pods still use a Dataset that is to go, or nodes still hold it.
const ENDING: Duration = Duration::from_secs(3);
/// How often a new leader looks whether the agents have come over.
const SETTLING: Duration = Duration::from_secs(2);

/// Runs the controller until its future is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    controller::run("dataset", context.clone(), context.stores.datasets.clone(), concerned, |dataset, context| {
        Box::pin(reconcile(dataset, context))
    })
    .await;
}

/// The Datasets that a change concerns.
fn concerned(change: &Change, stores: &Stores) -> Vec<ObjectRef<Dataset>> {
    match change {
        Change::All => stores.datasets.state().iter().map(|dataset| ObjectRef::from_obj(&**dataset)).collect(),
        Change::Dataset { namespace, name } | Change::Progress { namespace, name } => {
            vec![ObjectRef::new(name).within(namespace)]
        }
        // Of what concerns all of a runtime's, each hears in its turn, as progress.
        Change::Runtime(_) | Change::Scale(_) | Change::Agents(_) | Change::Node | Change::Health(_) => vec![],
    }
}

async fn reconcile(dataset: Arc<Dataset>, context: Arc<Context>) -> Result<Action, Failed> {
    if dataset.metadata.deletion_timestamp.is_some() && !dataset.finalizers().iter().any(|f| f == crate::names::FINALIZER) {
        return Ok(Action::await_change());
    }
    let failed = |what: &'static str| move |source| Failed { what, source };
    let Some(observed) = observe(&context, dataset).await.map_err(failed("observe"))? else { return Ok(Action::await_change()) };
    let findings = findings(&observed);
    let applied = apply(&context, &observed, plan(&observed)).await.map_err(failed("apply"))?;
    if applied.over {
        return Ok(Action::await_change());
    }
    let status = report(&observed, &findings, &applied, Timestamp::now());
    let before = observed.dataset.status.clone().unwrap_or_default();
    if status != before {
        if let Some(wait) = context.writes.too_soon(&observed.uid, news(&before, &status)) {
            return Ok(Action::requeue(wait));
        }
        write(&context, &observed, &status).await.map_err(failed("write the status"))?;
        context.metrics.status_written();
        context.events.turned(&*observed.dataset, &before.conditions, &status.conditions).await;
        let newly_used = before.first_used_at.is_none() && status.first_used_at.is_some();
        if let Some(used) = observed.first_use.as_ref().filter(|_| newly_used) {
            context.events.publish(&*observed.dataset, FirstUse::note(used)).await;
        }
    }
    Ok(Action::requeue(next_look(&observed, applied.stage.as_ref())))
}

fn next_look(observed: &Observed, stage: Option<&Stage>) -> Duration {
    match stage {
        Some(_) => ENDING,
        None if observed.settling => SETTLING,
        None => IDLE,
    }
}
