//! An agent as csi sees it.

use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::error::{CallError, Reason, Refusal};
use super::peer::{Answered, Peer};
use super::types::{BackingRequest, Composed, Layers, MemoryRequest, MountId, Negotiated};
use super::wire::{self, Body, Outcome};
use crate::generated::node::v1;
use crate::{DatasetName, InvalidMessage};

/// A connected agent. Cheap to clone. Calls are answered while [`Agent::run`] runs.
#[derive(Debug, Clone)]
pub struct Agent {
    peer: Arc<Peer>,
    runtime: Arc<str>,
    program: Arc<str>,
    counts_opens: bool,
}

/// csi, as agents see it.
pub trait Csi: Clone + Send + Sync + 'static {
    /// Does what `agent` asks about its tiers. The error is for a person.
    fn memory(self, agent: Agent, request: MemoryRequest) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Does what `agent` asks about files that the kernel reads by itself; the id that it is about. An error of the inner result is the
    /// kernel's; a refusal says that it may be tried again.
    fn backing(self, agent: Agent, request: BackingRequest) -> impl Future<Output = Result<io::Result<u32>, Refusal>> + Send;

    /// Makes the composed mounts over a mount that `agent` serves look for the data of unused inodes anew.
    fn forget(self, agent: Agent, mount: MountId) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Lets `agent` end, or refuses while nobody else would have the descriptors of its mounts.
    fn leave(self, agent: Agent) -> impl Future<Output = Result<(), Refusal>> + Send;
}

impl Agent {
    pub(crate) fn new(peer: Arc<Peer>, hello: v1::Hello) -> Self {
        let v1::Hello { protocol: _, runtime, program, counts_opens } = hello;
        Self { peer, runtime: runtime.into(), program: program.into(), counts_opens }
    }

    /// Whether it counts what it opens in the table of each mount that has one.
    #[must_use]
    pub fn counts_opens(&self) -> bool {
        self.counts_opens
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

    /// Serves the connection until it ends; `csi` does what the agent asks.
    pub async fn run(&self, csi: impl Csi) {
        let ended = Arc::clone(&self.peer)
            .run(|body, with| {
                let (csi, agent) = (csi.clone(), self.clone());
                async move {
                    match request(body, with)? {
                        Request::Memory(request) => {
                            csi.memory(agent, request).await?;
                            Ok(Outcome::Done(v1::Done {}).into())
                        }
                        Request::Backing(request) => csi.backing(agent, request).await.map(registered).map(Into::into),
                        Request::Forget(mount) => {
                            csi.forget(agent, mount).await?;
                            Ok(Outcome::Done(v1::Done {}).into())
                        }
                        Request::Leave => {
                            csi.leave(agent).await?;
                            Ok(Outcome::Done(v1::Done {}).into())
                        }
                    }
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

    /// What the newest generation of the mount's Dataset is composed of; the inner error says why it is to be shown by FUSE.
    ///
    /// # Errors
    /// [`CallError`]; an agent of an older version refuses as [`Reason::Unsupported`].
    pub async fn compose(&self, mount: MountId) -> Result<Result<Layers, String>, CallError> {
        let answered = self.peer.call_for_descriptors(Body::Compose(v1::Compose { mount: mount.0 }), None).await?;
        match answered {
            Answered { outcome: Outcome::Layers(v1::Layers { generation, why_not }), with } if why_not.is_empty() => {
                let mut with = with.into_iter();
                let missing = || InvalidMessage::new("layers", "a descriptor is missing");
                let (namespace, image) = (with.next().ok_or_else(missing)?, with.next().ok_or_else(missing)?);
                Ok(Ok(Layers { generation, namespace, image, directories: with.collect() }))
            }
            Answered { outcome: Outcome::Layers(v1::Layers { why_not, .. }), .. } => Ok(Err(why_not)),
            _ => Err(another()),
        }
    }

    /// Tells the agent what composed mounts over the mount show.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn composed(&self, mount: MountId, composed: Composed) -> Result<(), CallError> {
        let Composed { generations, why_not } = composed;
        self.done(Body::Composed(v1::Composed { mount: mount.0, generations, why_not: why_not.unwrap_or_default() })).await
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

enum Request {
    Memory(MemoryRequest),
    Backing(BackingRequest),
    Forget(MountId),
    Leave,
}

fn registered(outcome: io::Result<u32>) -> Outcome {
    Outcome::Registered(match outcome {
        Ok(id) => v1::Registered { id, errno: 0 },
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
            v1::Registered { id: 0, errno: errno.unsigned_abs() }
        }
    })
}

fn request(body: Body, with: Option<OwnedFd>) -> Result<Request, Refusal> {
    let invalid = |error: InvalidMessage| Refusal::new(Reason::Failed, error.to_string());
    let (request, tier) = match body {
        Body::RegisterBacking(v1::RegisterBacking { mount }) => {
            let file = with.ok_or_else(|| invalid(InvalidMessage::new("register_backing", "its descriptor is missing")))?;
            return Ok(Request::Backing(BackingRequest::Register { mount: wire::mount(mount), file }));
        }
        Body::CloseBacking(v1::CloseBacking { mount, id }) => {
            return Ok(Request::Backing(BackingRequest::Close { mount: wire::mount(mount), id }));
        }
        Body::Leave(v1::Leave {}) => return Ok(Request::Leave),
        Body::Forget(v1::Forget { mount }) => return Ok(Request::Forget(wire::mount(mount))),
        Body::PrepareMemory(v1::PrepareMemory { tier, bytes }) => (MemoryRequest::Prepare { tier: tier.clone(), bytes }, tier),
        Body::DropMemory(v1::DropMemory { tier }) => (MemoryRequest::Drop { tier: tier.clone() }, tier),
        _ => return Err(wire::unsupported()),
    };
    wire::label("memory.tier", &tier).map_err(invalid)?;
    Ok(Request::Memory(request))
}
