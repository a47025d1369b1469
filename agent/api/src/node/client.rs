//! The agent's end: dials csi for as long as the agent lives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::backing::BackingClient;
use super::error::{CallError, Reason, Refusal};
use super::host::Host;
use super::peer::{Answered, Peer};
use super::socket::Socket;
use super::types::{Composed, Layers, MountRequest};
use super::wire::{self, Body, Outcome};
use super::{Negotiated, PROTOCOL};
use crate::generated::node::v1;
use crate::socket::Reachable;
use crate::{DatasetName, InvalidMessage};

/// Pauses between attempts to reach csi, which may be away for as long as its image is being replaced.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long csi may take to greet back.
const GREETS_WITHIN: Duration = Duration::from_secs(10);

/// The agent's connection to csi. Ends when dropped.
#[derive(Debug)]
pub struct NodeClient {
    connected: watch::Receiver<Option<Arc<Peer>>>,
    task: JoinHandle<()>,
}

impl Drop for NodeClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NodeClient {
    /// Connects to `socket` as an agent of `runtime`, again whenever the connection ends, and lets `host` answer. `program` is
    /// the agent's version, for messages. To be called within a tokio runtime.
    pub fn start<H: Host>(
        socket: impl Into<PathBuf>,
        runtime: impl Into<String>,
        program: impl Into<String>,
        host: Arc<H>,
    ) -> Self {
        let hello = v1::Hello { protocol: PROTOCOL, runtime: runtime.into(), program: program.into(), counts_opens: true };
        let (send, connected) = watch::channel(None);
        let socket = socket.into();
        let task = tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            let mut told = false;
            loop {
                match session(&socket, &hello, &host, &send).await {
                    Ok(()) => {
                        pause = FIRST_PAUSE;
                        told = false;
                    }
                    Err(error) => {
                        if !told {
                            tracing::warn!(socket = %socket.display(), %error, "csi cannot be reached; trying on");
                            told = true;
                        }
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                send.send_replace(None);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            }
        });
        Self { connected, task }
    }

    /// Whether csi is connected now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.borrow().is_some()
    }

    /// Waits until csi is connected.
    pub async fn connected(&self) {
        let mut connected = self.connected.clone();
        // Only the task's end closes the channel, and that is this value's.
        let _ = connected.wait_for(Option::is_some).await;
    }

    /// Has a tmpfs of `bytes` mounted at [`memory_dir`](super::memory_dir) for tier `tier`, or resized with its files kept.
    ///
    /// # Errors
    /// [`CallError::Gone`] while csi is not connected. A refusal says what the kernel refused: also to make the tier smaller
    /// than what is in it.
    pub async fn prepare_memory(&self, tier: &str, bytes: u64) -> Result<(), CallError> {
        self.call(Body::PrepareMemory(v1::PrepareMemory { tier: tier.into(), bytes })).await
    }

    /// Has the tier's tmpfs unmounted, and what is in it thrown away. None there is fine.
    ///
    /// # Errors
    /// [`CallError::Gone`] while csi is not connected.
    pub async fn drop_memory(&self, tier: &str) -> Result<(), CallError> {
        self.call(Body::DropMemory(v1::DropMemory { tier: tier.into() })).await
    }

    /// Asks csi, again and again, to let this agent end, until it does: one that is away or ending itself would leave mounts whose
    /// descriptors nobody has. An older csi does not know the question, and is no reason to stay. For the caller to bound.
    pub async fn leave(&self) {
        loop {
            self.connected().await;
            match self.call(Body::Leave(v1::Leave {})).await {
                Ok(()) | Err(CallError::Refused(Refusal { reason: Reason::Unsupported, .. })) => return,
                Err(_) => tokio::time::sleep(FIRST_PAUSE).await,
            }
        }
    }

    /// By which threads that serve a mount register files on it.
    #[must_use]
    pub fn backings(&self, runtime: Handle) -> BackingClient {
        BackingClient::new(self.connected.clone(), runtime)
    }

    async fn call(&self, body: Body) -> Result<(), CallError> {
        let peer = self.connected.borrow().clone().ok_or(CallError::Gone)?;
        match peer.call(body, None).await? {
            Outcome::Done(v1::Done {}) => Ok(()),
            _ => Err(InvalidMessage::new("answer.outcome", "it answers another question").into()),
        }
    }
}

/// One connection, to its end.
async fn session<H: Host>(
    socket: &Path,
    hello: &v1::Hello,
    host: &Arc<H>,
    connected: &watch::Sender<Option<Arc<Peer>>>,
) -> io::Result<()> {
    let peer = Arc::new(Peer::new(dial(socket)?));
    peer.tell(Body::Hello(hello.clone()), None).await?;
    for holding in host.holdings() {
        let says = v1::Holding {
            mount: holding.mount.0,
            dataset: Some(holding.dataset.into()),
            negotiated: Some(holding.negotiated.into()),
        };
        peer.tell(Body::Holding(says), Some(holding.device.as_fd())).await?;
    }
    peer.tell(Body::Greeted(v1::Greeted {}), None).await?;
    let greeted = tokio::time::timeout(GREETS_WITHIN, peer.receive()).await;
    match greeted.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "csi does not greet back"))?? {
        Some((v1::Packet { body: Some(Body::Greeted(v1::Greeted {})), .. }, _)) => {}
        Some((v1::Packet { body: Some(Body::Answer(v1::Answer { outcome: Some(Outcome::Refusal(refusal)) })), .. }, _)) => {
            return Err(io::Error::other(refusal.message));
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "csi does not greet back")),
    }
    tracing::info!(socket = %socket.display(), "connected to csi");
    connected.send_replace(Some(Arc::clone(&peer)));
    let ended = peer.run(|body, with| handle(Arc::clone(host), body, with)).await;
    tracing::info!(error = ended.err().map(|error| error.to_string()), "the connection to csi has ended; mounts go on");
    Ok(())
}

fn dial(socket: &Path) -> io::Result<Socket> {
    let reachable = Reachable::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(reachable.path())?)?;
    Socket::new(fd)
}

async fn handle<H: Host>(host: Arc<H>, body: Body, with: Option<OwnedFd>) -> Result<Answered, Refusal> {
    let invalid = |error: InvalidMessage| Refusal::new(Reason::Failed, error.to_string());
    match body {
        Body::MayUse(v1::MayUse { dataset, namespace }) => {
            let dataset: DatasetName = wire::dataset(dataset).map_err(invalid)?;
            host.allowed(&dataset, &namespace).await?;
        }
        Body::Serve(v1::Serve { mount, dataset, negotiated }) => {
            let dataset = wire::dataset(dataset).map_err(invalid)?;
            let device = with.ok_or_else(|| invalid(InvalidMessage::new("serve", "its descriptor is missing")))?;
            let negotiated = negotiated.map(Negotiated::from);
            let request = MountRequest { mount: wire::mount(mount), dataset, device, negotiated };
            return Ok(Outcome::Serving(host.serve(request).await?.into()).into());
        }
        Body::Resend(v1::Resend { mount }) => host.resend(wire::mount(mount)).await,
        Body::Release(v1::Release { mount }) => host.release(wire::mount(mount)).await,
        Body::Compose(v1::Compose { mount }) => return Ok(layers(host.compose(wire::mount(mount)).await?)),
        Body::Composed(v1::Composed { mount, generations, why_not }) => {
            let why_not = (!why_not.is_empty()).then_some(why_not);
            host.composed(wire::mount(mount), Composed { generations, why_not }).await;
        }
        _ => return Err(wire::unsupported()),
    }
    Ok(Outcome::Done(v1::Done {}).into())
}

fn layers(composed: Result<Layers, String>) -> Answered {
    match composed {
        Ok(Layers { generation, namespace, image, directories }) => {
            let with = [namespace, image].into_iter().chain(directories).collect();
            Answered { outcome: Outcome::Layers(v1::Layers { generation, why_not: String::new() }), with }
        }
        Err(why_not) => Outcome::Layers(v1::Layers { generation: 0, why_not }).into(),
    }
}
