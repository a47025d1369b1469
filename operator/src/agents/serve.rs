//! The TLS listener of the agents' services.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use forebay_api::operator::agents_server::AgentsServer;
use forebay_api::operator::enrolment_server::EnrolmentServer;
use forebay_api::session::MAX_MESSAGE_BYTES;
use rustls::RootCertStore;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::Leads;
use super::authority::{Authority, AuthorityError, SERVER_LIFE};
use super::enrol::EnrolmentService;
use super::session::SessionService;
use super::who::Identify;

/// Connections that shake hands at a time.
const HANDSHAKES: usize = 64;
/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a connection is asked for a sign of life, and how long it may take to give it.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The address is taken, or not of this machine.
    #[error("listen on {address}: {source}; see --grpc-addr")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The listener itself.
    #[error("accept connections: {0}")]
    Accepting(std::io::Error),
    /// TLS could not be set up.
    #[error("set up TLS: {0}")]
    Tls(String),
    /// The server ended.
    #[error("serve agents: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// What the listener needs.
pub(crate) struct Serve {
    pub(crate) address: SocketAddr,
    /// Names under which agents know the operator.
    pub(crate) names: Vec<String>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) identify: Arc<dyn Identify>,
    pub(crate) leads: Leads,
}

/// A listener that is bound.
pub(crate) struct Bound {
    listener: TcpListener,
    serve: Serve,
}

impl Serve {
    /// Binds the address.
    pub(crate) async fn bind(self) -> Result<Bound, ServeError> {
        let address = self.address;
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        Ok(Bound { listener, serve: self })
    }
}

impl Bound {
    #[cfg(test)]
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `token` is cancelled.
    pub(crate) async fn run(self, token: CancellationToken) -> Result<(), ServeError> {
        let Serve { address: _, names, authority, identify, leads } = self.serve;
        let connections = secured(self.listener, &authority, names, &[b"h2"], token.clone())?;
        let enrolment = EnrolmentServer::new(EnrolmentService::new(identify, authority));
        let agents = AgentsServer::new(SessionService { leads }).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(8)
            .add_service(enrolment)
            .add_service(agents)
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), token.cancelled_owned())
            .await?;
        Ok(())
    }
}

/// Connections that have shaken hands, under a certificate that the authority gives and gives anew, until `token` is cancelled.
pub(crate) fn secured(
    listener: TcpListener,
    authority: &Arc<Authority>,
    names: Vec<String>,
    protocols: &[&[u8]],
    token: CancellationToken,
) -> Result<mpsc::Receiver<Connection>, ServeError> {
    let renewing = Arc::new(Renewing::new(authority, &names)?);
    let acceptor = TlsAcceptor::from(Arc::new(config(authority, renewing.clone(), protocols)?));
    let (sender, connections) = mpsc::channel(HANDSHAKES);
    tokio::spawn(accept(listener, acceptor, sender, token.clone()));
    tokio::spawn(renew(renewing, authority.clone(), names, token));
    Ok(connections)
}

fn config(authority: &Authority, renewing: Arc<Renewing>, protocols: &[&[u8]]) -> Result<ServerConfig, ServeError> {
    let tls = |error: &dyn std::fmt::Display| ServeError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()?).map_err(|error| tls(&error))?;
    // An agent that enrols has no certificate yet; `Session` asks for one itself.
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build().map_err(|error| tls(&error))?;
    let mut config = ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(renewing);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Never an error: a handshake that failed is told of and left out.
pub(crate) type Connection = Result<TlsStream<TcpStream>, std::io::Error>;

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, sender: mpsc::Sender<Connection>, token: CancellationToken) {
    let at_once = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(slot) = at_once.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a connection that was gone at once: neither gets better by hurrying.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let _slot = slot;
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

/// The operator's certificate, which is made anew long before it expires.
#[derive(Debug)]
struct Renewing(RwLock<Arc<CertifiedKey>>);

impl Renewing {
    fn new(authority: &Authority, names: &[String]) -> Result<Self, ServeError> {
        Ok(Self(RwLock::new(certified(authority, names)?)))
    }
}

impl ResolvesServerCert for Renewing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

fn certified(authority: &Authority, names: &[String]) -> Result<Arc<CertifiedKey>, ServeError> {
    let identity = authority.server(names)?;
    let key =
        rustls::crypto::ring::sign::any_supported_type(&identity.key).map_err(|error| ServeError::Tls(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(identity.chain, key)))
}

async fn renew(renewing: Arc<Renewing>, authority: Arc<Authority>, names: Vec<String>, token: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SERVER_LIFE / 2) => {}
            () = token.cancelled() => return,
        }
        match certified(&authority, &names) {
            Ok(new) => *renewing.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new,
            Err(error) => tracing::error!(%error, "the operator's certificate was not renewed, it is tried again"),
        }
    }
}
