//! The listener for other agents.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Limits;
use crate::net::Net;
use crate::serve::{Connection, Serve, Source};

/// Connections open at a time, for each one that this agent may open itself: as many as all others may open to it together, with some to
/// spare while their lists differ.
const SPARE: usize = 2;
/// A connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A listener that is bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Binds the address; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, and then cuts what is under way: who asked goes on with another node or the store.
    pub async fn run(self, net: Arc<Net>, source: Arc<dyn Source>, stop: CancellationToken) {
        let slots = net.limits.connections.saturating_mul(SPARE);
        let serve = Arc::new(Serve::new(net.clone(), source, slots));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accept = async {
                let slot = serve.slots.clone().acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            let (slot, stream) = tokio::select! {
                () = stop.cancelled() => break,
                (slot, accepted) = accept => match accepted {
                    Ok((stream, _)) => (slot, stream),
                    Err(error) => {
                        // Out of descriptors, or a connection that was gone at once: neither gets better by hurrying.
                        warn!(%error, "a connection of another agent was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let Some(config) = net.tls.server() else { continue };
            let (acceptor, serve, net) = (TlsAcceptor::from(config), serve.clone(), net.clone());
            connections.spawn(async move {
                let _slot = slot;
                if let Err(why) = connection(stream, &acceptor, serve, &net.limits).await {
                    debug!(why, "a connection of another agent ended");
                }
            });
        }
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, acceptor: &TlsAcceptor, serve: Arc<Serve>, limits: &Limits) -> Result<(), String> {
    let _ = stream.set_nodelay(true);
    let accepted =
        timeout(limits.handshake, acceptor.accept(stream)).await.map_err(|_| "the handshake took too long".to_owned())?;
    let tls = accepted.map_err(|error| format!("TLS: {error}"))?;
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or("no certificate")?.clone().into_owned();
    let connection = Arc::new(Connection::new(serve, certificate));
    let answering = connection.clone();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(tls), service_fn(move |request| answering.clone().answer(request)));
    let stalled = async {
        while connection.stalled() < limits.stalled {
            tokio::time::sleep(limits.stalled / 4).await;
        }
    };
    tokio::select! {
        served = served => served.map_err(|error| error.to_string()),
        () = stalled => Err("it took nothing any more".to_owned()),
    }
}
