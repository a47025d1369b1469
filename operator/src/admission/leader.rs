//! The way from a replica that does not lead to the one that does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Uri};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config};
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long it is believed that who led still leads.
const FRESH: Duration = Duration::from_secs(3);
/// All of one question. The API server waits for two seconds, and then goes on without an answer.
const PATIENCE: Duration = Duration::from_millis(1200);

/// Path under which a replica asks another.
pub(super) const FORWARDED: &str = "/forwarded";

/// Finds the replica that leads, by the Lease and its pod's address, and asks it.
pub(crate) struct Elsewhere {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) lease: String,
    pub(crate) port: u16,
    /// The authority's certificate, and the name that is in the other replica's own.
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) name: String,
    pub(crate) known: Mutex<Option<Known>>,
}

/// Who led when it was looked last.
#[derive(Clone)]
pub(crate) struct Known {
    at: Instant,
    holder: String,
    connection: Arc<Client>,
}

impl Elsewhere {
    /// The leader's answer; `None`: it gave none in time, or nobody leads.
    pub(super) async fn ask(&self, body: &[u8]) -> Option<Vec<u8>> {
        let asked = async {
            let leader = self.leader().await.map_err(|error| format!("{error:#}"))?;
            let request = Request::post(FORWARDED).header("content-type", "application/json").body(body.to_vec());
            let request = request.map_err(|error| error.to_string())?;
            leader.request_text(request).await.map(String::into_bytes).map_err(|error| error.to_string())
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(error, "the replica that leads was not asked where a pod's data is");
                None
            }
            Err(_) => None,
        }
    }

    async fn leader(&self) -> anyhow::Result<Arc<Client>> {
        use anyhow::Context as _;
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.connection.clone());
        }
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let lease = leases.get(&self.lease).await.context("read the Lease")?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
        let holder = holder.context("nobody leads")?;
        let connection = match known.take().filter(|known| known.holder == holder) {
            Some(known) => known.connection,
            None => Arc::new(self.connect(&holder).await?),
        };
        *known = Some(Known { at: Instant::now(), holder, connection: connection.clone() });
        Ok(connection)
    }

    async fn connect(&self, holder: &str) -> anyhow::Result<Client> {
        use anyhow::Context as _;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = pods.get(holder).await.with_context(|| format!("look up pod {holder}"))?;
        let ip = pod.status.and_then(|status| status.pod_ip).with_context(|| format!("pod {holder} has no address"))?;
        let ip: IpAddr = ip.parse().with_context(|| format!("the address of pod {holder}"))?;
        let address = std::net::SocketAddr::new(ip, self.port);
        let mut config = Config::new(format!("https://{address}").parse::<Uri>().context("the leader's address")?);
        config.root_cert = Some(vec![self.authority.to_vec()]);
        config.tls_server_name = Some(self.name.clone());
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        Client::try_from(config).context("set up the connection to the leader")
    }
}
