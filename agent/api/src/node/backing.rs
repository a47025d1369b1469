//! Files that the kernel reads by itself: csi, which may, registers them for agents, which may not.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use super::error::CallError;
use super::peer::Peer;
use super::types::MountId;
use super::wire::{Body, Outcome};
use crate::InvalidMessage;
use crate::generated::node::v1;

/// How long an open may wait for csi; it is served by the agent then. Closing is tried again.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks csi from threads that serve a mount: calls wait, and may be made on a worker of a multi-threaded runtime too.
#[derive(Debug, Clone)]
pub struct BackingClient {
    connected: watch::Receiver<Option<Arc<Peer>>>,
    runtime: Handle,
}

impl BackingClient {
    pub(crate) fn new(connected: watch::Receiver<Option<Arc<Peer>>>, runtime: Handle) -> Self {
        Self { connected, runtime }
    }

    /// A backing id for `file`, open for reading, on a mount that this agent serves.
    ///
    /// # Errors
    /// The kernel's; of another kind than an error of the operating system when csi is away or does not answer.
    pub fn register(&self, mount: MountId, file: BorrowedFd<'_>) -> io::Result<u32> {
        let (client, file) = (self.clone(), file.try_clone_to_owned()?);
        let unwanted = self.clone();
        let asked = async move { client.call(Body::RegisterBacking(v1::RegisterBacking { mount: mount.0 }), Some(file)).await };
        self.wait(asked, move |id| async move {
            // Nobody has waited long enough to learn of it.
            let _ = unwanted.call(Body::CloseBacking(v1::CloseBacking { mount: mount.0, id }), None).await;
        })
    }

    /// Closes an id.
    ///
    /// # Errors
    /// As [`BackingClient::register`].
    pub fn close(&self, mount: MountId, id: u32) -> io::Result<()> {
        let client = self.clone();
        let asked = async move { client.call(Body::CloseBacking(v1::CloseBacking { mount: mount.0, id }), None).await };
        self.wait(asked, |_| std::future::ready(())).map(drop)
    }

    /// Has composed mounts over `mount` look for the data of unused inodes anew.
    ///
    /// # Errors
    /// [`CallError::Gone`] while csi is not connected.
    pub async fn forget(&self, mount: MountId) -> Result<(), CallError> {
        let peer = self.connected.borrow().clone().ok_or(CallError::Gone)?;
        match peer.call(Body::Forget(v1::Forget { mount: mount.0 }), None).await? {
            Outcome::Done(v1::Done {}) => Ok(()),
            _ => Err(InvalidMessage::new("answer.outcome", "it answers another question").into()),
        }
    }

    async fn call(&self, body: Body, with: Option<OwnedFd>) -> io::Result<u32> {
        let peer = self.connected.borrow().clone().ok_or(CallError::Gone).map_err(io::Error::other)?;
        match peer.call(body, with.as_ref().map(|file| file.as_fd())).await.map_err(io::Error::other)? {
            Outcome::Registered(v1::Registered { id, errno: 0 }) => Ok(id),
            Outcome::Registered(v1::Registered { errno, .. }) => Err(io::Error::from_raw_os_error(errno.cast_signed())),
            _ => Err(io::Error::other(InvalidMessage::new("answer.outcome", "it answers another question"))),
        }
    }

    /// Waits for what `asked` gives on the runtime; what comes too late goes to `unwanted`.
    fn wait<F: Future<Output = ()> + Send>(
        &self,
        asked: impl Future<Output = io::Result<u32>> + Send + 'static,
        unwanted: impl FnOnce(u32) -> F + Send + 'static,
    ) -> io::Result<u32> {
        let (send, receive) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            if let Err(mpsc::SendError(Ok(id))) = send.send(asked.await) {
                unwanted(id).await;
            }
        });
        let wait = || {
            receive.recv_timeout(WITHIN).unwrap_or_else(|error| {
                Err(match error {
                    RecvTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "csi does not answer"),
                    RecvTimeoutError::Disconnected => io::Error::other("the runtime ends"),
                })
            })
        };
        // A worker that waits needs another one in its place, or nobody reads csi's answer.
        match Handle::try_current() {
            Ok(here) if here.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }
}
