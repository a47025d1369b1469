use std::sync::Arc;
use std::time::Duration;

use forebay_crds::Dataset;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::timeout;

use super::{Mounted, class_of, mounted, of_class};
use crate::names;
use crate::stores::Stores;

/// All that is looked up for one pod. Whoever creates it waits meanwhile.
const PATIENCE: Duration = Duration::from_millis(400);

/// Finds the Datasets of pods: from the caches, and for claims that people made of a StorageClass of ours by one read of the API
/// server each. Where there is no such class, nothing is ever read. PersistentVolumes that people made are not looked at.
#[derive(Clone)]
pub(crate) struct Resolver {
    client: Client,
    stores: Stores,
}

impl Resolver {
    pub(crate) fn new(client: Client, stores: Stores) -> Self {
        Self { client, stores }
    }

    /// The Datasets that a pod of `namespace` mounts and may mount. What cannot be found out in time is left out.
    pub(crate) async fn datasets(&self, pod: &Pod, namespace: &str) -> Vec<Arc<Dataset>> {
        let mut found = Vec::new();
        let all = async {
            for mounted in mounted(pod, namespace) {
                found.extend(self.dataset(mounted, namespace).await);
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::debug!(namespace, "the claims of a pod were not looked up in time");
        }
        found
    }

    async fn dataset(&self, mounted: Mounted, namespace: &str) -> Option<Arc<Dataset>> {
        let (of, name) = match mounted {
            Mounted::Claim(claim) => match self.stores.claims.get(&ObjectRef::new(&claim).within(namespace)) {
                // The claim that a Dataset gets has its name.
                Some(ours) => {
                    let dataset = self.stores.dataset(namespace, &claim)?;
                    return (ours.labels().get(names::DATASET_UID) == dataset.metadata.uid.as_ref()).then_some(dataset);
                }
                None => self.by_class(&self.class(namespace, &claim).await?, namespace)?,
            },
            Mounted::Class(class) => self.by_class(&class, namespace)?,
            Mounted::Inline(of, name) => (of, name),
        };
        let dataset = self.stores.dataset(&of, &name)?;
        dataset.spec.grants(&of, namespace).then_some(dataset)
    }

    fn by_class(&self, class: &str, namespace: &str) -> Option<(String, String)> {
        of_class(&*self.stores.classes.get(&ObjectRef::new(class))?, namespace)
    }

    /// The StorageClass of a claim that is in no cache.
    async fn class(&self, namespace: &str, claim: &str) -> Option<String> {
        if !self.stores.classes.state().iter().any(|class| class.provisioner == names::DRIVER) {
            return None;
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        match claims.get_opt(claim).await {
            Ok(found) => class_of(&found?.spec?),
            Err(error) => {
                tracing::debug!(namespace, claim, %error, "a claim was not looked up");
                None
            }
        }
    }
}
