//! Who agents are to each other.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate for this agent with its key, and whom to trust. `Debug` shows none of it.
#[derive(Clone)]
pub struct Identity {
    /// PEM. Its subject alternative names hold the DNS name of this agent.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// PEM.
    pub authorities: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// An identity that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate for other agents cannot be used: {0}")]
pub struct TlsError(String);

/// Both ends' configuration, made anew with each certificate; connections that are open stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Tls(RwLock<Option<Configs>>);

#[derive(Clone, Debug)]
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn set(&self, identity: &Identity) -> Result<(), TlsError> {
        let configs = configs(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(configs);
        Ok(())
    }

    fn get(&self) -> Option<Configs> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.get().map(|configs| configs.server)
    }

    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.get().map(|configs| configs.client)
    }
}

fn configs(identity: &Identity) -> Result<Configs, TlsError> {
    let wrong = |error: &dyn fmt::Display| TlsError(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(identity.authorities.as_bytes()) {
        roots.add(authority.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    let roots = Arc::new(roots);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| wrong(&e))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|e| wrong(&e))?;
    let versions = &[&rustls::version::TLS13];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().map_err(|e| wrong(&e))?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().map_err(|e| wrong(&e))?;
    let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).map_err(|e| wrong(&e))?;
    let server =
        server.with_client_cert_verifier(clients).with_single_cert(chain.clone(), key.clone_key()).map_err(|e| wrong(&e))?;
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).map_err(|e| wrong(&e))?;
    let client = client.with_webpki_verifier(servers).with_client_auth_cert(chain, key).map_err(|e| wrong(&e))?;
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

/// Whether a certificate, whose chain was verified, is for this DNS name.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}
