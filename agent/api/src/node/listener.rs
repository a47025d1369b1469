//! csi's end: accepts agents.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

use super::agent::Agent;
use super::error::{GreetError, Reason, Refusal};
use super::peer::Peer;
use super::socket::Socket;
use super::types::Holding;
use super::wire::{self, Body};
use super::{Negotiated, PROTOCOL};
use crate::InvalidMessage;
use crate::generated::node::v1;
use crate::socket::Reachable;

/// How long an agent may take to say who it is and what it holds.
const SAYS_WITHIN: Duration = Duration::from_secs(10);

/// Mounts that one agent may hold; a node has as many Datasets, and some that are released but still open.
const HOLDINGS: usize = 4096;

/// Connections waiting to be accepted.
const BACKLOG: i32 = 64;

/// The socket on which agents connect. Only its owner may.
#[derive(Debug)]
pub struct NodeListener {
    fd: AsyncFd<OwnedFd>,
    path: PathBuf,
}

impl NodeListener {
    /// Listens at `path`, in place of a former csi's socket there. To be called within a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says; the directory must be there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let reachable = Reachable::new(path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(reachable.path())?)?;
        // Before anybody can connect: there is no moment in which it is open to all.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        rustix::net::listen(&fd, BACKLOG)?;
        Ok(Self { fd: super::socket::register(fd)?, path: path.to_owned() })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection, of which nothing is known yet. Cancellation-safe.
    ///
    /// # Errors
    /// What the kernel says; the listener may be used on.
    pub async fn accept(&self) -> io::Result<Greeting> {
        loop {
            let mut ready = self.fd.readable().await?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match ready.try_io(|fd| Ok(rustix::net::accept_with(fd, flags)?)) {
                Ok(Ok(fd)) => return Ok(Greeting { socket: Socket::new(fd)? }),
                // Its other side has given up already.
                Ok(Err(error))
                    if [Errno::CONNABORTED, Errno::INTR]
                        .map(|e| e.raw_os_error())
                        .contains(&error.raw_os_error().unwrap_or(0)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// A connection that has not said whose it is.
#[derive(Debug)]
pub struct Greeting {
    socket: Socket,
}

impl Greeting {
    /// Hears who connected and what it holds. Takes 10 s at most; to be run apart from accepting others.
    ///
    /// # Errors
    /// [`GreetError`]; the connection is closed then.
    pub async fn greet(self) -> Result<(Agent, Vec<Holding>), GreetError> {
        let peer = Arc::new(Peer::new(self.socket));
        let said = tokio::time::timeout(SAYS_WITHIN, hear(&peer)).await.map_err(|_| GreetError::Silent)?;
        let (hello, holdings) = match said {
            Err(error @ (GreetError::Protocol { .. } | GreetError::Invalid(_))) => {
                let refusal = wire::answer(Err(Refusal::new(Reason::Unsupported, error.to_string())));
                peer.tell(Body::Answer(refusal), None).await?;
                return Err(error);
            }
            other => other?,
        };
        peer.tell(Body::Greeted(v1::Greeted {}), None).await?;
        Ok((Agent::new(peer, hello), holdings))
    }
}

async fn hear(peer: &Peer) -> Result<(v1::Hello, Vec<Holding>), GreetError> {
    let (first, _) = peer.receive().await?.ok_or(GreetError::Silent)?;
    let Some(Body::Hello(hello)) = first.body else { return Err(InvalidMessage::missing("hello").into()) };
    if hello.protocol != PROTOCOL {
        let v1::Hello { protocol, runtime, program, counts_opens: _ } = hello;
        return Err(GreetError::Protocol { runtime, program, protocol });
    }
    wire::label("hello.runtime", &hello.runtime)?;
    let mut holdings = Vec::new();
    loop {
        let (packet, mut with) = peer.receive().await?.ok_or(GreetError::Silent)?;
        match packet.body {
            Some(Body::Greeted(v1::Greeted {})) => return Ok((hello, holdings)),
            Some(Body::Holding(_)) if holdings.len() == HOLDINGS => {
                return Err(InvalidMessage::new("holding", format!("there are more than {HOLDINGS}")).into());
            }
            Some(Body::Holding(v1::Holding { mount, dataset, negotiated })) => holdings.push(Holding {
                mount: wire::mount(mount),
                dataset: wire::dataset(dataset)?,
                negotiated: negotiated.map(Negotiated::from).ok_or_else(|| InvalidMessage::missing("holding.negotiated"))?,
                device: with.pop().ok_or_else(|| InvalidMessage::new("holding", "its descriptor is missing"))?,
            }),
            _ => {}
        }
    }
}
