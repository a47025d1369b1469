//! The certificate authority of operator and agents.

use std::fmt;
use std::time::Duration;

use forebay_api::session::AgentIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

/// How long the authority's own certificate is valid. Its Secret is made once.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long an agent's certificate is valid.
pub(crate) const AGENT_LIFE: Duration = Duration::from_secs(3600);
/// How long the operator's certificate is valid.
pub(crate) const SERVER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Clocks of nodes differ; a certificate is valid from so long before now.
const SKEW: Duration = Duration::from_secs(300);

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority's own certificate or key.
    #[error(
        "the certificate authority's {part} is not usable ({source}): delete its Secret and restart the operator to have a new one made"
    )]
    Unusable {
        /// Certificate or key.
        part: &'static str,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// An agent's request.
    #[error("the signing request is not usable: {0}")]
    Request(rcgen::Error),
    /// Making or signing a certificate.
    #[error("a certificate could not be made: {0}")]
    Made(rcgen::Error),
}

/// A certificate authority with its key. `Debug` shows neither.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A server's certificate chain and key.
pub(crate) struct ServerIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// A certificate for an agent.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) not_after: std::time::SystemTime,
}

impl Authority {
    /// Makes a new authority.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Made)?;
        let mut params = params("forebay-ca", AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Made)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// The authority that [`Self::generate`] made once.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(|source| AuthorityError::Unusable { part: "key", source })?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(|source| AuthorityError::Unusable { part: "certificate", source })?;
        Ok(Self { issuer, certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned() })
    }

    /// The certificate, PEM: public.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key, PEM: for its Secret only.
    pub(crate) fn expose_key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate as rustls takes it.
    pub(crate) fn certificate(&self) -> Result<CertificateDer<'static>, AuthorityError> {
        let unusable = |_| AuthorityError::Unusable { part: "certificate", source: rcgen::Error::CouldNotParseCertificate };
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(unusable)
    }

    /// A certificate for the operator under `names`.
    pub(crate) fn server(&self, names: &[String]) -> Result<ServerIdentity, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Made)?;
        let mut params = params("forebay-operator", SERVER_LIFE);
        let named = CertificateParams::new(names.to_vec()).map_err(AuthorityError::Made)?;
        params.subject_alt_names = named.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Made)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(ServerIdentity { chain: vec![certificate.der().clone()], key })
    }

    /// A certificate for an agent: of its request only the public key is used.
    pub(crate) fn agent(&self, request_pem: &str, agent: &AgentIdentity) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem).map_err(AuthorityError::Request)?;
        let mut params = params("forebay-agent", AGENT_LIFE);
        let uri = agent.to_string().try_into().map_err(AuthorityError::Made)?;
        let name = agent.dns_name().try_into().map_err(AuthorityError::Made)?;
        params.subject_alt_names = vec![SanType::URI(uri), SanType::DnsName(name)];
        // Agents serve each other; to be taken for the operator, its name is needed too.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let not_after = params.not_after.into();
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(AuthorityError::Made)?;
        Ok(Issued { pem: certificate.pem(), not_after })
    }
}

fn params(name: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Whole seconds are what a certificate holds.
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_| OffsetDateTime::now_utc());
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Who a client certificate says that the caller is, and until when. `None`: it is not an agent's.
pub(crate) fn agent_of(certificate: &CertificateDer<'_>) -> Option<(AgentIdentity, std::time::SystemTime)> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let identity = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    })?;
    let until = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some((identity, std::time::UNIX_EPOCH + Duration::from_secs(until)))
}
