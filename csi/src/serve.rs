//! gRPC on a Unix socket.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, Router};

use crate::registration::corrected;

/// Cancelled by SIGTERM or SIGINT.
pub(crate) fn until_told() -> anyhow::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let end = CancellationToken::new();
    let told = end.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.cancel();
    });
    Ok(end)
}

/// Serves at `socket`, in place of what a former process left there, until `end`; then ends the calls under way and removes it.
pub(crate) async fn on_socket(socket: &Path, services: Router, end: CancellationToken) -> anyhow::Result<()> {
    on(socket, services, end, |connection| connection).await
}

/// The same for the socket at which kubelet asks who a plugin is.
pub(crate) async fn on_registration_socket(socket: &Path, services: Router, end: CancellationToken) -> anyhow::Result<()> {
    on(socket, services, end, corrected).await
}

async fn on<C>(socket: &Path, services: Router, end: CancellationToken, seen: impl Fn(UnixStream) -> C) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let listener = listen(socket).with_context(|| format!("listen at {}", socket.display()))?;
    let connections = UnixListenerStream::new(listener).map(|connection| connection.map(&seen));
    let served = services.serve_with_incoming_shutdown(connections, end.cancelled_owned()).await;
    let _ = std::fs::remove_file(socket);
    served.with_context(|| format!("serve at {}", socket.display()))
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = socket.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
