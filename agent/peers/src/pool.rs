//! Connections to one peer: a bounded number, used again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::net::Net;

/// A connection that nobody used for so long is closed. The server waits longer, so that it is rarely the first to close.
const IDLE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Pool {
    address: SocketAddr,
    name: ServerName<'static>,
    all: Arc<Semaphore>,
    /// What background work may use of them.
    background: Arc<Semaphore>,
    idle: Mutex<Vec<(SendRequest<Empty<Bytes>>, Instant)>>,
}

/// The right to use a connection.
#[derive(Debug)]
pub(crate) struct Permits {
    _one: Option<OwnedSemaphorePermit>,
    _background: Option<OwnedSemaphorePermit>,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pub(crate) sender: SendRequest<Empty<Bytes>>,
    /// It served before.
    pub(crate) used: bool,
    _permits: Permits,
}

impl Pool {
    pub(crate) fn new(address: SocketAddr, name: ServerName<'static>, connections: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        // One at least stays free for readers.
        let background = semaphore((connections * 3 / 4).max(1));
        Self { address, name, all: semaphore(connections), background, idle: Mutex::default() }
    }

    /// Waits until a connection may be used.
    pub(crate) async fn permits(&self, background: bool) -> Permits {
        let _background = if background { self.background.clone().acquire_owned().await.ok() } else { None };
        Permits { _one: self.all.clone().acquire_owned().await.ok(), _background }
    }

    /// A connection that is idle, or a new one.
    pub(crate) async fn lease(pool: &Arc<Self>, net: &Net, permits: Permits) -> Result<Lease, String> {
        let found = pool.take_idle();
        let used = found.is_some();
        let sender = match found {
            Some(sender) => sender,
            None => pool.connect(net).await?,
        };
        Ok(Lease { pool: pool.clone(), sender, used, _permits: permits })
    }

    fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE);
        // One whose former body is just ending would make this request wait.
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.swap_remove(ready).0)
    }

    async fn connect(&self, net: &Net) -> Result<SendRequest<Empty<Bytes>>, String> {
        let connecting = async {
            let config = net.tls.client().ok_or("this agent has no certificate yet")?;
            let stream = TcpStream::connect(self.address).await.map_err(|error| format!("connect: {error}"))?;
            let _ = stream.set_nodelay(true);
            let tls = TlsConnector::from(config).connect(self.name.clone(), stream).await;
            let tls = tls.map_err(|error| format!("TLS: {error}"))?;
            let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|error| format!("HTTP: {error}"))?;
            // Ends when the sender is dropped, or the peer closes.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(sender)
        };
        let connected = timeout(net.limits.connect, connecting).await;
        connected.unwrap_or_else(|_| Err("it did not take a connection in time".to_owned()))
    }
}

impl Lease {
    /// Replaces a connection that turned out to be closed.
    pub(crate) async fn renew(&mut self, net: &Net) -> Result<(), String> {
        self.sender = self.pool.connect(net).await?;
        self.used = false;
        Ok(())
    }

    /// The connection can be used again.
    pub(crate) fn give_back(self) {
        let Self { pool, sender, .. } = self;
        if !sender.is_closed() {
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push((sender, Instant::now()));
        }
    }
}
