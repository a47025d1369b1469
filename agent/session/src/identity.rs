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
    /// When it should be renewed, as [`renewal`] says.
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
            renew: now + renewal(life, fastrand::f64()),
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

/// After how much of its life a certificate is renewed: between a half, where `spread` is 0, and two thirds, where it is 1.
/// Agents that are enrolled together, as when the operator comes, would otherwise all ask for a certificate, and begin a
/// session, at one moment each time. A third of the life is left for an operator that is away.
fn renewal(life: Duration, spread: f64) -> Duration {
    life / 2 + (life / 6).mul_f64(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_made_together_are_renewed_one_after_the_other_and_long_before_their_end() {
        let mut random = fastrand::Rng::with_seed(7);
        for life in [60, 3600, 86_400].map(Duration::from_secs) {
            let mut moments: Vec<Duration> = (0..1000).map(|_| renewal(life, random.f64())).collect();
            moments.extend([renewal(life, 0.0), renewal(life, 1.0)]);
            moments.sort_unstable();
            for at in &moments {
                assert!(*at >= life / 2 && life - *at >= life / 3, "{at:?} of {life:?}");
            }
            // Evenly a tenth of them takes a tenth of the time, which is a sixth of the life.
            for tenth in moments.windows(100) {
                assert!(tenth[99] - tenth[0] >= life / 6 / 20, "{:?} to {:?} of {life:?}", tenth[0], tenth[99]);
            }
        }
    }
}
