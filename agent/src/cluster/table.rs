use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::DatasetName;
use forebay_api::node::{Composed, Holding, Host, Layers, MountId, MountRequest, Negotiated, Reason, Refusal};
use forebay_cache::Cache;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::hosted::Hosted;
use super::natives::Natives;

/// How long csi waits for an agent that is starting.
const START: Duration = Duration::from_secs(20);

/// The Datasets of this agent, as csi asks for them.
pub(crate) struct Table {
    runtime: String,
    hosted: RwLock<BTreeMap<DatasetName, Arc<Hosted>>>,
    started: watch::Sender<bool>,
    tasks: Handle,
    natives: OnceLock<Natives>,
    cache: OnceLock<Cache>,
}

impl Table {
    pub(crate) fn new(runtime: String, tasks: Handle) -> Self {
        let (natives, cache) = (OnceLock::new(), OnceLock::new());
        Self { runtime, hosted: RwLock::default(), started: watch::Sender::new(false), tasks, natives, cache }
    }

    /// How files get to be read natively, before anything is served.
    pub(crate) fn set_natives(&self, natives: Natives) {
        let _ = self.natives.set(natives);
    }

    /// Where complete files are published for composed mounts.
    pub(crate) fn set_cache(&self, cache: Cache) {
        let _ = self.cache.set(cache);
    }

    /// Writes the index of the tiers.
    pub(crate) async fn flush(&self) {
        let Some(cache) = self.cache.get().cloned() else { return };
        if let Err(error) = tokio::task::spawn_blocking(move || cache.flush()).await {
            tracing::error!(%error, "writing the index died; the next start reads the tiers through");
        }
    }

    /// What was known at the start is in the table: csi may be answered.
    pub(crate) fn started(&self) {
        self.started.send_replace(true);
    }

    pub(crate) fn get(&self, name: &DatasetName) -> Option<Arc<Hosted>> {
        self.hosted.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All, in order of namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<Hosted>> {
        self.hosted.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn add(&self, hosted: Arc<Hosted>) {
        self.hosted.write().unwrap_or_else(PoisonError::into_inner).insert(hosted.name.clone(), hosted);
    }

    pub(crate) fn take(&self, name: &DatasetName) {
        self.hosted.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    async fn find(&self, dataset: &DatasetName) -> Result<Arc<Hosted>, Refusal> {
        let mut started = self.started.subscribe();
        if tokio::time::timeout(START, started.wait_for(|started| *started)).await.is_err() {
            return Err(Refusal::new(Reason::NotReady, format!("the agent of CacheRuntime {} is starting", self.runtime)));
        }
        self.get(dataset).filter(|hosted| !hosted.is_removed()).ok_or_else(|| {
            let message = format!(
                "there is no Dataset {dataset} in CacheRuntime {}, whose agent runs on this node: create it, or correct its name or \
                 namespace in the volume",
                self.runtime
            );
            Refusal::new(Reason::UnknownDataset, message)
        })
    }
}

#[async_trait]
impl Host for Table {
    async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), Refusal> {
        let hosted = self.find(dataset).await?;
        if hosted.desired().spec.grants(&dataset.namespace, namespace) {
            return Ok(());
        }
        let message = format!(
            "pods of namespace {namespace} may not use Dataset {dataset}: add {namespace:?} to spec.allowedNamespaces of the Dataset"
        );
        Err(Refusal::new(Reason::NotGranted, message))
    }

    async fn serve(&self, request: MountRequest) -> Result<Negotiated, Refusal> {
        let hosted = match self.find(&request.dataset).await {
            Ok(hosted) => hosted,
            // A mount that was served before and whose Dataset is going: it goes on until its pods have gone.
            Err(refusal) => match self.get(&request.dataset) {
                Some(hosted) if request.negotiated.is_some() => hosted,
                _ => return Err(refusal),
            },
        };
        let shared = self.natives.get().and_then(|natives| natives.of(request.mount));
        hosted.serve(request, shared, self.tasks.clone()).await
    }

    async fn resend(&self, mount: MountId) {
        for hosted in self.all() {
            hosted.resend(mount);
        }
    }

    async fn release(&self, mount: MountId) {
        for hosted in self.all() {
            hosted.release(mount);
        }
    }

    async fn compose(&self, mount: MountId) -> Result<Result<Layers, String>, Refusal> {
        let not_served = || Refusal::new(Reason::NotReady, format!("mount {mount} is not served by this agent"));
        let served = self.all().into_iter().find(|hosted| hosted.serves(mount)).ok_or_else(not_served)?;
        let Some(cache) = self.cache.get().cloned() else { return Err(not_served()) };
        Ok(served.compose(cache).await)
    }

    async fn composed(&self, mount: MountId, composed: Composed) {
        let (Some(hosted), Some(natives)) = (self.all().into_iter().find(|hosted| hosted.serves(mount)), self.natives.get())
        else {
            return;
        };
        hosted.composed(mount, composed, natives.csi());
    }

    fn holdings(&self) -> Vec<Holding> {
        self.all().iter().flat_map(|hosted| hosted.holdings()).collect()
    }
}
