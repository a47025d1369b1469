//! An agent as csi sees it.

use std::future::Future;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::error::{CallError, Reason, Refusal};
use super::peer::Peer;
use super::types::{MemoryRequest, MountId, Negotiated};
use super::wire::{self, Body, Outcome};
use crate::generated::node::v1;
use crate::{DatasetName, InvalidMessage};

/// A connected agent. Cheap to clone. Calls are answered while [`Agent::run`] runs.
#[derive(Debug, Clone)]
pub struct Agent {
    peer: Arc<Peer>,
    runtime: Arc<str>,
    program: Arc<str>,
}

impl Agent {
    pub(crate) fn new(peer: Arc<Peer>, runtime: String, program: String) -> Self {
        Self { peer, runtime: runtime.into(), program: program.into() }
    }

    /// The CacheRuntime that it is of: a name that may stand in a path.
    #[must_use]
    pub fn runtime(&self) -> &str {
        &self.runtime
    }

    /// The version of its program.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether the connection has ended; the agent's process has closed it, or is gone with all its threads.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.peer.has_ended()
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.peer, &other.peer)
    }

    /// Serves the connection until it ends; `memory` does what the agent asks about its tiers, its error being for a person.
    pub async fn run<F>(&self, memory: impl Fn(MemoryRequest) -> F)
    where
        F: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let ended = Arc::clone(&self.peer)
            .run(|body, _| {
                let asked = request(body).map(&memory);
                async move {
                    asked?.await?;
                    Ok(Outcome::Done(v1::Done {}))
                }
            })
            .await;
        if let Err(error) = ended {
            tracing::warn!(runtime = %self.runtime, %error, "an agent's connection broke");
        }
    }

    /// Whether pods of `namespace` may use `dataset`.
    ///
    /// # Errors
    /// [`CallError`]; the refusal is the agent's, for a person.
    pub async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), CallError> {
        self.done(Body::MayUse(v1::MayUse { dataset: Some(dataset.clone().into()), namespace: namespace.into() })).await
    }

    /// Lets the agent serve the mount behind `device`; answers what must be kept for its next server.
    ///
    /// # Errors
    /// [`CallError`]. After [`CallError::Gone`] or [`CallError::TimedOut`] with `negotiated` `None` the kernel may have been
    /// greeted without anybody's knowing: the mount must be made anew.
    pub async fn serve(
        &self,
        mount: MountId,
        dataset: &DatasetName,
        device: BorrowedFd<'_>,
        negotiated: Option<Negotiated>,
    ) -> Result<Negotiated, CallError> {
        let serve = v1::Serve { mount: mount.0, dataset: Some(dataset.clone().into()), negotiated: negotiated.map(Into::into) };
        match self.peer.call(Body::Serve(serve), Some(device)).await? {
            Outcome::Serving(negotiated) => Ok(negotiated.into()),
            _ => Err(another()),
        }
    }

    /// Tells the agent that a former server of the mount has ended.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn resend(&self, mount: MountId) -> Result<(), CallError> {
        self.done(Body::Resend(v1::Resend { mount: mount.0 })).await
    }

    /// Tells the agent that the mount is gone.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn release(&self, mount: MountId) -> Result<(), CallError> {
        self.done(Body::Release(v1::Release { mount: mount.0 })).await
    }

    async fn done(&self, body: Body) -> Result<(), CallError> {
        match self.peer.call(body, None).await? {
            Outcome::Done(v1::Done {}) => Ok(()),
            _ => Err(another()),
        }
    }
}

fn another() -> CallError {
    InvalidMessage::new("answer.outcome", "it answers another question").into()
}

fn request(body: Body) -> Result<MemoryRequest, Refusal> {
    let (request, tier) = match body {
        Body::PrepareMemory(v1::PrepareMemory { tier, bytes }) => (MemoryRequest::Prepare { tier: tier.clone(), bytes }, tier),
        Body::DropMemory(v1::DropMemory { tier }) => (MemoryRequest::Drop { tier: tier.clone() }, tier),
        _ => return Err(wire::unsupported()),
    };
    wire::label("memory.tier", &tier).map_err(|error| Refusal::new(Reason::Failed, error.to_string()))?;
    Ok(request)
}
