//! Connections to one store: those that nobody uses, and new ones.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tower::ServiceExt as _;

use super::super::client::CONNECT_TIMEOUT;
use super::connection::{Connection, Connector};
use super::{Failed, words};
use crate::StoreErrorKind;

/// Connections that wait to be used again; as many as a store's requests are by default, twice.
const MOST_IDLE: usize = 128;
/// After this unused, a connection is closed, and so are those that the store has closed meanwhile.
const IDLE: Duration = Duration::from_secs(60);

/// The system's certificates, read once.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

pub(super) struct Pool {
    connector: Connector,
    origin: Uri,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last is last, and is used first.
    connections: Vec<(Connection, Instant)>,
    swept: bool,
}

impl Pool {
    pub(super) fn new(origin: Uri, ca_pem: Option<&[u8]>) -> Result<Self, String> {
        Ok(Self { connector: connector(ca_pem)?, origin, idle: Mutex::default() })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was used before and is still open.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, _) = self.idle().connections.pop()?;
            if connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// A new one.
    pub(super) async fn connect(&self) -> Result<Connection, Failed> {
        let connecting = async {
            let io = self.connector.clone().oneshot(self.origin.clone()).await;
            let io = io.map_err(|failed| Failed { kind: StoreErrorKind::Unavailable, cause: words(&*failed) })?;
            let made = Connection::over(io).await;
            made.map_err(|failed| Failed { kind: StoreErrorKind::Unavailable, cause: words(&failed) })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| {
            let cause = format!("no connection to {} within {CONNECT_TIMEOUT:?}", self.origin);
            Err(Failed { kind: StoreErrorKind::Timeout, cause })
        })
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut idle = self.idle();
        if idle.connections.len() >= MOST_IDLE {
            return;
        }
        idle.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what nobody uses, for as long as there is any.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.connections.retain_mut(|(connection, since)| since.elapsed() < IDLE && connection.is_idle());
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

/// TLS as the SDK's client has it: the system's certificates, and those given besides; no proxy.
fn connector(ca_pem: Option<&[u8]>) -> Result<Connector, String> {
    let mut roots = SYSTEM.clone();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default()) {
        let certificate = certificate.map_err(|error| format!("ca: {error}"))?;
        roots.add(certificate).map_err(|error| format!("ca: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| format!("TLS: {error}"))?.with_root_certificates(roots).with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp))
}
