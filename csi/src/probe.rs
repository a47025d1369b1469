//! Asks a running driver whether it is ready.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper_util::rt::TokioIo;
use tonic::transport::Endpoint;

use crate::proto::csi::ProbeRequest;
use crate::proto::csi::identity_client::IdentityClient;

/// How long the answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks the driver at `socket`.
pub(crate) async fn ready(socket: &Path) -> anyhow::Result<()> {
    let path = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let asked = async {
        // The name means nothing: the socket is the address.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await?;
        anyhow::Ok(IdentityClient::new(channel).probe(ProbeRequest {}).await?.into_inner())
    };
    let answer = tokio::time::timeout(WITHIN, asked).await.context("the driver does not answer")?;
    let answer = answer.with_context(|| format!("ask the driver at {}", socket.display()))?;
    if answer.ready == Some(false) {
        bail!("the driver at {} is not ready", socket.display());
    }
    Ok(())
}
