//! The agent's local socket: answers `forebay-agent status` and its like.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use forebay_api::v1::control_server::ControlServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::bounded::Bounded;
use crate::view::View;

mod faults;
mod service;
mod socket;
#[cfg(test)]
mod tests;

/// Connections at a time. Each is a person's command or a program on this node.
const CONNECTIONS: usize = 64;
/// Requests at a time on one connection.
const REQUESTS: u32 = 16;
/// How long requests may take to end after the stop; a client that does not read its answers is then left alone.
const FAREWELL: Duration = Duration::from_secs(3);

/// Serves `view` on the Unix socket `socket` until `stop`. The task ends when the socket is removed again.
///
/// A socket file that a killed agent left is replaced. Fails when another agent listens there.
pub(crate) async fn serve(socket: PathBuf, view: Arc<dyn View>, stop: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let (listener, file) =
        socket::bind(&socket).await.with_context(|| format!("open the control socket {}", socket.display()))?;
    let incoming = Bounded::new(listener, CONNECTIONS, None).into_stream();
    let service = ControlServer::new(service::Service::new(view, stop.clone()));
    let serving = Server::builder()
        .concurrency_limit_per_connection(REQUESTS as usize)
        .max_concurrent_streams(REQUESTS)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    Ok(tokio::spawn(async move {
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::error!(%error, socket = %socket.display(), "the control socket failed: status is not answered any more");
            },
            () = patience => tracing::debug!("a client of the control socket did not take its last answer"),
        }
        drop(file);
    }))
}
