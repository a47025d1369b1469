//! The webhook's TLS listener.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::leader::FORWARDED;
use super::review::Reviewer;
use crate::agents::authority::Authority;
use crate::agents::serve::{Connection, ServeError, secured};

/// Largest review: a pod may take 1.5 MiB of etcd.
const LARGEST: usize = 4 << 20;

/// Serves until `token` is cancelled.
pub(crate) async fn run(
    listener: TcpListener,
    authority: Arc<Authority>,
    names: Vec<String>,
    reviewer: Reviewer,
    token: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Accepting)?;
    let connections = secured(listener, &authority, names, &[b"http/1.1"], token.clone())?;
    let router = Router::new()
        .route("/pods", post(|state: State<Arc<Reviewer>>, body: Bytes| answer(state, body, false)))
        .route(FORWARDED, post(|state: State<Arc<Reviewer>>, body: Bytes| answer(state, body, true)))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(Arc::new(reviewer));
    axum::serve(Secured { connections, address }, router)
        .with_graceful_shutdown(token.cancelled_owned())
        .await
        .map_err(ServeError::Accepting)
}

async fn answer(State(reviewer): State<Arc<Reviewer>>, body: Bytes, forwarded: bool) -> Response {
    match reviewer.answer(&body, forwarded).await {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(error) => {
            tracing::warn!(%error, "a review was not understood; the API server goes on without an answer");
            (StatusCode::BAD_REQUEST, error.to_string()).into_response()
        }
    }
}

/// Connections that have shaken hands.
struct Secured {
    connections: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.connections.recv().await {
                Some(Ok(stream)) => return (stream, self.address),
                Some(Err(_)) => {}
                // The listener ends with the token, and this server with it.
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
