//! What there is: the only reads of the Dataset controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_crds::{CacheRuntime, Dataset};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;

use super::secret_names;
use super::usage::User;
use crate::agents::standing::Standing;
use crate::context::Context;
use crate::demand::FirstUse;
use crate::names;
use crate::secrets::SecretState;

/// A Dataset and all that its reconciliation needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(super) dataset: Arc<Dataset>,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) runtime: Option<Arc<CacheRuntime>>,
    /// By name; those that the mounts name.
    pub(super) secrets: BTreeMap<String, SecretState>,
    pub(super) volume: Option<Arc<PersistentVolume>>,
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    /// The nodes that the runtime's agents are to run on.
    pub(super) nodes: Arc<BTreeSet<String>>,
    /// Whether these have been chosen, or are only those that have an agent from before.
    pub(super) chosen: bool,
    /// What those that answer say, by node.
    pub(super) reports: BTreeMap<Arc<str>, Standing>,
    /// This replica leads so shortly that agents may not have come over yet.
    pub(super) settling: bool,
    /// The first pod that uses it, where that matters and the status does not say so yet.
    pub(super) first_use: Option<FirstUse>,
    /// Only of a Dataset that is being deleted.
    pub(super) ending: Option<Ending>,
}

/// What the deletion of a Dataset waits for.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Pods that use it.
    pub(super) users: Vec<User>,
    /// Nodes whose agents have not let go of it, or do not say.
    pub(super) holding: BTreeSet<String>,
    /// For how long they have been asked to.
    pub(super) asked: std::time::Duration,
}

/// Looks at everything. `None`: the Dataset has no namespace or uid, which no API server sends.
pub(super) async fn observe(context: &Context, dataset: Arc<Dataset>) -> Result<Option<Observed>, kube::Error> {
    let (Some(namespace), Some(uid)) = (dataset.namespace(), dataset.uid()) else { return Ok(None) };
    let stores = &context.stores;
    let name = dataset.name_any();
    let now = Instant::now();
    let mut claim = stores.claims.get(&ObjectRef::new(&name).within(&namespace));
    if claim.is_none() {
        // A claim of that name that the operator did not make is in no cache.
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
        claim = claims.get_opt(&name).await?.map(Arc::new);
    }
    let ending = match dataset.metadata.deletion_timestamp {
        None => {
            context.releasing.forget(&uid);
            None
        }
        Some(_) => {
            let users = context.usage.users_of(&context.client, &namespace, &name).await?;
            let mut holding = context.registry.holding(&uid, now);
            holding.extend(context.silent_nodes(&dataset.spec.runtime, now));
            Some(Ending { users, holding, asked: context.releasing.since(&uid, super::is_releasing(&dataset), now) })
        }
    };
    let secrets = secret_names(&dataset.spec);
    let secrets = secrets.iter().map(|secret| ((*secret).to_owned(), context.secrets.get(&namespace, secret))).collect();
    let (nodes, chosen) = context.agent_nodes(&dataset.spec.runtime);
    Ok(Some(Observed {
        runtime: stores.runtime(&dataset.spec.runtime),
        secrets,
        volume: stores.volumes.get(&ObjectRef::new(&names::volume(&uid))),
        claim,
        nodes,
        chosen,
        reports: context.registry.reports(&dataset.spec.runtime, &uid, now),
        settling: context.is_settling(now),
        first_use: context.demand.first_use(&uid),
        ending,
        dataset,
        namespace,
        uid,
    }))
}
