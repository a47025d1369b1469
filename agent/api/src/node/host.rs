//! The seam between the link and the agent.

use async_trait::async_trait;

use super::error::Refusal;
use super::types::{Composed, Holding, Layers, MountId, MountRequest, Negotiated};
use crate::DatasetName;

/// What csi asks of an agent. Every call may come again, at once or after an answer that never arrived, and any number of
/// them at a time.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Whether pods of `namespace` may use `dataset`.
    ///
    /// # Errors
    /// [`Reason::UnknownDataset`](super::Reason::UnknownDataset), [`Reason::NotGranted`](super::Reason::NotGranted) with what to
    /// add where.
    async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), Refusal>;

    /// Serves the mount from now on and answers what was agreed on with the kernel: `request.negotiated` if it has a value. A
    /// mount that is being served already is not served twice; the answer is the same.
    ///
    /// # Errors
    /// [`Reason::UnknownDataset`](super::Reason::UnknownDataset), [`Reason::NotReady`](super::Reason::NotReady) while it is being
    /// listed. The kernel must not have been greeted then, so that another attempt can be made with the same mount.
    async fn serve(&self, request: MountRequest) -> Result<Negotiated, Refusal>;

    /// Asks the kernel for what a former server of the mount left unanswered; that one has ended now. Unknown is fine.
    async fn resend(&self, mount: MountId);

    /// The mount is gone: forget it. Whoever still has files of it open is served to the end. Unknown is fine.
    async fn release(&self, mount: MountId);

    /// What the newest generation is composed of, for a mount that is served; the inner error says why its tree is to be shown by
    /// FUSE. The generation is kept until [`Host::composed`] no longer names it.
    ///
    /// # Errors
    /// [`Reason::NotReady`](super::Reason::NotReady) for a mount that is not served.
    async fn compose(&self, mount: MountId) -> Result<Result<Layers, String>, Refusal>;

    /// What composed mounts over the mount show from now on. Unknown is fine.
    async fn composed(&self, mount: MountId, composed: Composed);

    /// The mounts being served, with a duplicate of each descriptor: what a csi that was started anew has lost. Asked at each
    /// connection.
    fn holdings(&self) -> Vec<Holding>;
}
