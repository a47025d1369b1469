use anyhow::bail;
use forebay_crds::Dataset;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, told};

/// Field manager of all that is changed here.
const FIELD_MANAGER: &str = "kubectl-forebay";
/// A status that is written each second overtakes a change now and then, not so often.
const ATTEMPTS: usize = 10;

/// Changes a Dataset by the merge patch that `plan` makes of it; `None`: it is so already. When somebody else changed it meanwhile it is
/// planned anew. What admission refuses is said in its words. The Dataset as it is then.
pub(crate) async fn change<T>(
    cluster: &Cluster,
    name: &str,
    plan: impl Fn(&Dataset) -> anyhow::Result<(Option<Value>, T)>,
) -> anyhow::Result<(Dataset, T)> {
    for _ in 0..ATTEMPTS {
        let dataset = cluster.dataset(name).await?;
        let (patch, planned) = plan(&dataset)?;
        let Some(mut patch) = patch else { return Ok((dataset, planned)) };
        patch["metadata"]["resourceVersion"] = json!(dataset.metadata.resource_version);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match cluster.datasets().patch(name, &params, &Patch::Merge(&patch)).await {
            Ok(changed) => return Ok((changed, planned)),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(told(error)),
        }
    }
    bail!("Dataset {name} was changed by others {ATTEMPTS} times meanwhile: try again")
}
