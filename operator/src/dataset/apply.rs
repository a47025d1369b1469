//! Makes it so: the only writes of the Dataset controller.

use std::collections::BTreeSet;

use forebay_crds::{Dataset, DatasetStatus};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;

use super::observe::Observed;
use super::plan::{Keep, Plan};
use super::release::Stage;
use crate::context::Context;
use crate::ends::{delete, set_finalizers};
use crate::events::Note;
use crate::{names, ssa};

/// What the objects are now.
#[derive(Debug, Clone, Default)]
pub(super) struct Applied {
    pub(super) claim: Option<PersistentVolumeClaim>,
    pub(super) foreign_claim: bool,
    /// Only of a Dataset that is being deleted.
    pub(super) stage: Option<Stage>,
    /// The finalizer is gone, and with it the object.
    pub(super) over: bool,
}

pub(super) async fn apply(context: &Context, observed: &Observed, plan: Plan) -> Result<Applied, kube::Error> {
    match plan {
        Plan::Keep(keep) => self::keep(context, observed, keep).await,
        Plan::End(stage) => end(context, observed, stage).await,
    }
}

async fn keep(context: &Context, observed: &Observed, keep: Keep) -> Result<Applied, kube::Error> {
    let Keep { finalizer, volume, claim, remake_volume, foreign_claim } = keep;
    let datasets: Api<Dataset> = Api::namespaced(context.client.clone(), &observed.namespace);
    if finalizer {
        // Before anything that would outlive the Dataset.
        set_finalizers(&datasets, &*observed.dataset, &[names::FINALIZER]).await?;
    }
    if remake_volume && let Some(volume) = &observed.volume {
        let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
        delete(&volumes, &**volume).await?;
    }
    if let Some(volume) = volume {
        let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
        ssa::apply(&volumes, *volume, observed.volume.as_deref()).await?;
    }
    let claim = match claim {
        Some(claim) => {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &observed.namespace);
            match ssa::apply(&claims, *claim, observed.claim.as_deref()).await {
                Err(error) if ssa::is_ending_namespace(&error) => None,
                made => Some(made?),
            }
        }
        None => None,
    };
    Ok(Applied { claim, foreign_claim, stage: None, over: false })
}

async fn end(context: &Context, observed: &Observed, stage: Stage) -> Result<Applied, kube::Error> {
    let claim = observed.claim.as_deref().filter(|claim| super::plan::is_ours(claim, &observed.uid));
    let mut applied = Applied { claim: claim.cloned(), ..Applied::default() };
    match &stage {
        Stage::InUse(_) => {}
        Stage::Releasing { .. } => {
            if let Some(claim) = claim {
                delete(&Api::namespaced(context.client.clone(), &observed.namespace), claim).await?;
            }
            if let Some(volume) = observed.volume.as_deref() {
                delete(&Api::all(context.client.clone()), volume).await?;
            }
        }
        Stage::Over { unanswered } => {
            if !unanswered.is_empty() {
                unanswered_note(context, observed, unanswered).await;
            }
            let datasets: Api<Dataset> = Api::namespaced(context.client.clone(), &observed.namespace);
            set_finalizers(&datasets, &*observed.dataset, &[]).await?;
            context.releasing.forget(&observed.uid);
            applied.over = true;
        }
    }
    applied.stage = Some(stage);
    Ok(applied)
}

async fn unanswered_note(context: &Context, observed: &Observed, nodes: &BTreeSet<String>) {
    let nodes = nodes.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    let text = format!("the agents of {nodes} did not let go within a minute; they free its bytes when they are back");
    let note = Note { warning: true, reason: "ReleasedWithout".to_owned(), action: "Delete", text };
    context.events.publish(&*observed.dataset, note).await;
}

/// Writes the status.
pub(super) async fn write(context: &Context, observed: &Observed, status: &DatasetStatus) -> Result<(), kube::Error> {
    let datasets: Api<Dataset> = Api::namespaced(context.client.clone(), &observed.namespace);
    ssa::write_status(&datasets, &*observed.dataset, status).await
}
