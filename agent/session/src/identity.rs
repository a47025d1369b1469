//! Who this agent is to the operator: a key made at the start, a certificate for it by the pod's token, both in memory only.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use forebay_api::operator::EnrolRequest;
use forebay_api::operator::enrolment_client::EnrolmentClient;
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

/// Time for a connection, and for the answer to a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// An operator that does not answer a ping for so long is gone.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Where the operator is, and by what it and this agent know each other.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its address, such as `https://forebay-operator.forebay-system.svc:8443`.
    pub url: String,
    /// File of the authority's certificate: read anew each time, because it may be replaced.
    pub ca: PathBuf,
    /// File of the pod's token, which kubelet renews.
    pub token: PathBuf,
}

/// What proves to the operator, and to other agents, who this agent is. PEM.
pub struct Identity {
    /// The certificate, short-lived.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Who signs operators' and agents' certificates.
    pub authorities: String,
    /// When it should be renewed: after two thirds of its life.
    pub(crate) renew: SystemTime,
}

impl Operator {
    /// Shows the token and gets a certificate.
    pub(crate) async fn enrol(&self, now: SystemTime) -> anyhow::Result<Identity> {
        let read = |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()));
        let authorities = read(&self.ca)?;
        let token = read(&self.token)?.trim().to_owned();
        let key = KeyPair::generate().context("make a key")?;
        let request = CertificateParams::default().serialize_request(&key).context("make a signing request")?;
        let channel = self.connect(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authorities))).await?;
        let mut client = EnrolmentClient::new(channel);
        let mut request = tonic::Request::new(EnrolRequest { token, csr_pem: request.pem()? });
        request.set_timeout(PATIENCE);
        let answer = client.enrol(request).await.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
        let until = answer.not_after.context("the certificate's end is missing")?;
        let until = SystemTime::try_from(until).context("the certificate's end is not a point in time")?;
        let life = until.duration_since(now).unwrap_or_default();
        ensure!(!life.is_zero(), "the certificate is over already: compare the clocks of this node and the operator's");
        Ok(Identity {
            certificate: answer.certificate_pem,
            key: key.serialize_pem(),
            authorities: answer.ca_pem,
            renew: now + life / 3 * 2,
        })
    }

    /// A connection as `identity`.
    pub(crate) async fn connect_as(&self, identity: &Identity) -> anyhow::Result<Channel> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&identity.authorities))
            .identity(TlsIdentity::from_pem(&identity.certificate, &identity.key));
        self.connect(tls).await
    }

    async fn connect(&self, tls: ClientTlsConfig) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.url.clone()).with_context(|| format!("--operator {}", self.url))?;
        let endpoint = endpoint
            .tls_config(tls)?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true);
        endpoint.connect().await.with_context(|| format!("connect to the operator at {}", self.url))
    }
}
