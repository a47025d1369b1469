//! The agent's twin: keeps the descriptors it is given and serves nothing, for tests of the link and of csi.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::error::{Reason, Refusal};
use super::host::Host;
use super::types::{Composed, Holding, Layers, MountId, MountRequest, Negotiated};
use crate::DatasetName;

/// What the twin answers as agreed on with the kernel for a mount that it serves first.
pub const AGREED: Negotiated = Negotiated { minor: 31, flags: 1 << 39 | 1, max_readahead: 131_072 };

/// An agent that has some Datasets, each granted to some namespaces.
#[derive(Debug, Default)]
pub struct MemoryHost {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Dataset, and whether it is listed.
    datasets: BTreeMap<DatasetName, (BTreeSet<String>, bool)>,
    mounts: BTreeMap<MountId, Holding>,
    resent: Vec<MountId>,
    composed: BTreeMap<MountId, Composed>,
}

impl MemoryHost {
    /// One that has nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a Dataset that its own namespace and `granted` may use; it can be served once `listed`.
    pub fn set_dataset(&self, dataset: DatasetName, granted: &[&str], listed: bool) {
        let granted = granted.iter().map(|namespace| (*namespace).to_owned()).collect();
        self.state().datasets.insert(dataset, (granted, listed));
    }

    /// Takes a Dataset away. Mounts that show it stay.
    pub fn remove_dataset(&self, dataset: &DatasetName) {
        self.state().datasets.remove(dataset);
    }

    /// The mounts being served.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountId> {
        self.state().mounts.keys().copied().collect()
    }

    /// What composed mounts over `mount` show, as was last said.
    #[must_use]
    pub fn shown(&self, mount: MountId) -> Option<Composed> {
        self.state().composed.get(&mount).cloned()
    }

    /// For which mounts a former server's requests were asked for, in order.
    #[must_use]
    pub fn resent(&self) -> Vec<MountId> {
        self.state().resent.clone()
    }
}

/// The refusals of one who does not have the Dataset, or not yet.
fn unknown(dataset: &DatasetName) -> Refusal {
    Refusal::new(Reason::UnknownDataset, format!("there is no Dataset {dataset}"))
}

#[async_trait]
impl Host for MemoryHost {
    async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), Refusal> {
        let state = self.state();
        let (granted, _) = state.datasets.get(dataset).ok_or_else(|| unknown(dataset))?;
        if dataset.namespace == namespace || granted.contains(namespace) || granted.contains("*") {
            return Ok(());
        }
        let message = format!(
            "namespace {namespace} may not use Dataset {dataset}: add \"{namespace}\" to spec.allowedNamespaces of the Dataset"
        );
        Err(Refusal::new(Reason::NotGranted, message))
    }

    async fn serve(&self, request: MountRequest) -> Result<Negotiated, Refusal> {
        let MountRequest { mount, dataset, device, negotiated } = request;
        let mut state = self.state();
        let (_, listed) = state.datasets.get(&dataset).ok_or_else(|| unknown(&dataset))?;
        if !listed {
            return Err(Refusal::new(Reason::NotReady, format!("Dataset {dataset} is being listed")));
        }
        if let Some(there) = state.mounts.get(&mount) {
            return Ok(there.negotiated);
        }
        let negotiated = negotiated.unwrap_or(AGREED);
        state.mounts.insert(mount, Holding { mount, dataset, negotiated, device });
        Ok(negotiated)
    }

    async fn resend(&self, mount: MountId) {
        self.state().resent.push(mount);
    }

    async fn release(&self, mount: MountId) {
        self.state().mounts.remove(&mount);
    }

    async fn compose(&self, mount: MountId) -> Result<Result<Layers, String>, Refusal> {
        let state = self.state();
        if !state.mounts.contains_key(&mount) {
            return Err(Refusal::new(Reason::NotReady, format!("mount {mount} is not served")));
        }
        let open = |path: &str| Ok::<OwnedFd, io::Error>(File::open(path)?.into());
        let layers = || {
            let (namespace, image) = (open("/proc/self/ns/mnt")?, open("/proc/self/exe")?);
            Ok::<_, io::Error>(Layers { generation: 7, namespace, image, directories: vec![open("/")?, open("/proc")?] })
        };
        Ok(layers().map_err(|error| error.to_string()))
    }

    async fn composed(&self, mount: MountId, composed: Composed) {
        self.state().composed.insert(mount, composed);
    }

    fn holdings(&self) -> Vec<Holding> {
        let state = self.state();
        let twins = state.mounts.values().map(|Holding { mount, dataset, negotiated, device }| {
            let device = device.try_clone().ok()?;
            Some(Holding { mount: *mount, dataset: dataset.clone(), negotiated: *negotiated, device })
        });
        twins.flatten().collect()
    }
}
