//! What each call of the Node service may fail with, and what that is called in gRPC.

use forebay_api::DatasetName;
use tonic::{Code, Status};

use crate::capability::CapabilityError;
use crate::context::ContextError;
use crate::keeper::KeepError;

#[derive(Debug, thiserror::Error)]
pub(super) enum PathError {
    #[error("no volume is named")]
    NoVolume,
    #[error("{0:?} is not an absolute path")]
    BadPath(String),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("the volume is to be published without having been staged")]
    NotStaged,
    #[error("kubelet does not say for which pod the volume is: the CSIDriver object must have podInfoOnMount: true")]
    NoPod,
    #[error(transparent)]
    Keep(#[from] KeepError),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum UnpublishError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StatsError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("volume {volume} is not published at {path}")]
    NotPublished { volume: String, path: String },
    #[error("Dataset {dataset}: {why}")]
    Failed { dataset: DatasetName, why: String },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HealthError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("volume {volume} is not in use here")]
    NotHere { volume: String },
}

fn keep(error: &KeepError) -> Code {
    match error {
        KeepError::NoAgent { .. }
        | KeepError::Unknown { .. }
        | KeepError::NotReady { .. }
        | KeepError::Awaited { .. }
        | KeepError::Agent { .. } => Code::Unavailable,
        KeepError::NotGranted { .. } => Code::PermissionDenied,
        KeepError::Mount { .. } | KeepError::Record { .. } => Code::Internal,
        KeepError::Taken { .. } => Code::AlreadyExists,
    }
}

impl From<StageError> for Status {
    fn from(error: StageError) -> Self {
        let code = match &error {
            StageError::Path(_) | StageError::Capability(_) | StageError::Context(_) => Code::InvalidArgument,
            StageError::Keep(error) => keep(error),
        };
        Status::new(code, error.to_string())
    }
}

impl From<PublishError> for Status {
    fn from(error: PublishError) -> Self {
        let code = match &error {
            PublishError::Path(_) | PublishError::Capability(_) | PublishError::Context(_) => Code::InvalidArgument,
            PublishError::NotStaged | PublishError::NoPod => Code::FailedPrecondition,
            PublishError::Keep(error) => keep(error),
        };
        Status::new(code, error.to_string())
    }
}

impl From<UnpublishError> for Status {
    fn from(error: UnpublishError) -> Self {
        let code = match &error {
            UnpublishError::Path(_) => Code::InvalidArgument,
            UnpublishError::Keep(error) => keep(error),
        };
        Status::new(code, error.to_string())
    }
}

impl From<StatsError> for Status {
    fn from(error: StatsError) -> Self {
        let code = match &error {
            StatsError::Path(_) => Code::InvalidArgument,
            StatsError::NotPublished { .. } => Code::NotFound,
            StatsError::Failed { .. } => Code::Internal,
        };
        Status::new(code, error.to_string())
    }
}

impl From<HealthError> for Status {
    fn from(error: HealthError) -> Self {
        let code = match &error {
            HealthError::Path(_) => Code::InvalidArgument,
            HealthError::NotHere { .. } => Code::NotFound,
        };
        Status::new(code, error.to_string())
    }
}
