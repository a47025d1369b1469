use std::io;
use std::path::PathBuf;

use forebay_api::DatasetName;
use forebay_api::node::{CallError, Reason};

/// Why a Dataset cannot be shown. The words are what `kubectl describe pod` shows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(
        "no agent of Forebay runs on this node, so Dataset {dataset} cannot be mounted: see whether its CacheRuntime selects this node (`kubectl get cacheruntimes`) and whether the pods labelled app.kubernetes.io/name=forebay-agent run here"
    )]
    NoAgent { dataset: DatasetName },
    #[error("no agent on this node has Dataset {dataset}: see whether it exists (`kubectl get dataset -n {namespace} {name}`) and whether its CacheRuntime selects this node", namespace = dataset.namespace, name = dataset.name)]
    Unknown { dataset: DatasetName },
    #[error("Dataset {dataset}: {message}")]
    NotReady { dataset: DatasetName, message: String },
    #[error("{message}")]
    NotGranted { message: String },
    #[error("Dataset {dataset} is mounted and served, but its agent has not come back to this driver yet")]
    Awaited { dataset: DatasetName },
    #[error("the agent that serves Dataset {dataset}: {source}")]
    Agent { dataset: DatasetName, source: CallError },
    #[error("the mount at {at}: {source}")]
    Mount { at: PathBuf, source: io::Error },
    #[error("what this driver must remember cannot be written: {source}")]
    Record { source: io::Error },
    #[error("{at} is in use by volume {volume} of Dataset {dataset}, or with other mount options")]
    Taken { at: PathBuf, volume: String, dataset: DatasetName },
}

impl KeepError {
    /// What an agent's answer means for `dataset`.
    pub(super) fn of_agent(dataset: &DatasetName, error: CallError) -> Self {
        let dataset = dataset.clone();
        match error {
            CallError::Refused(refusal) => match refusal.reason {
                Reason::UnknownDataset => Self::Unknown { dataset },
                Reason::NotReady => Self::NotReady { dataset, message: refusal.message },
                Reason::NotGranted => Self::NotGranted { message: refusal.message },
                Reason::Unsupported | Reason::Failed => Self::Agent { dataset, source: CallError::Refused(refusal) },
            },
            source => Self::Agent { dataset, source },
        }
    }

    /// Whether waiting may help.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoAgent { .. } | Self::Unknown { .. } | Self::NotReady { .. } | Self::Awaited { .. } | Self::Agent { .. }
        )
    }
}
