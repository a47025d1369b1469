use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::convert::all;
use crate::v1::control_client::ControlClient;
use crate::{ConnectError, ControlError, DatasetName, DatasetReport, socket, v1};

/// How long an agent may take to answer. Its answers come from memory; a machine short of processors is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the agent of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: ControlClient<Channel>,
}

/// Connects to the agent that was started with `--state STATE_DIR`.
pub async fn connect(state_dir: &Path) -> Result<Client, ConnectError> {
    let path = socket::path(state_dir);
    let stream = match open(&path).await {
        Ok(stream) => stream,
        Err(source) => {
            return Err(match source.kind() {
                _ if !state_dir.is_dir() && source.kind() != io::ErrorKind::PermissionDenied => {
                    ConnectError::NoStateDir(state_dir.into())
                }
                // A socket file without a listener is what a killed agent leaves.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::NoAgent(state_dir.into()),
                io::ErrorKind::PermissionDenied => ConnectError::Denied(path),
                _ => ConnectError::Socket { path, source },
            });
        }
    };
    let stream = Mutex::new(Some(TokioIo::new(stream)));
    // The connection is made already, so that its errors can be told apart; tonic takes it once. When it breaks the
    // agent has ended, and a new one is for a new Client.
    let connector = tower::service_fn(move |_| {
        let taken = stream.lock().ok().and_then(|mut stream| stream.take());
        async { taken.ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "the connection to the agent ended")) }
    });
    // The name stands in the requests' `:authority` only.
    let endpoint = Endpoint::from_static("http://agent");
    match endpoint.connect_with_connector(connector).await {
        Ok(channel) => Ok(Client { inner: ControlClient::new(channel) }),
        Err(source) => Err(ConnectError::Protocol { path, source }),
    }
}

async fn open(path: &Path) -> io::Result<UnixStream> {
    let reachable = socket::Reachable::new(path)?;
    UnixStream::connect(reachable.path()).await
}

impl Client {
    /// How a Dataset does, or how all do (`None`), in order of namespace and name.
    pub async fn status(&mut self, dataset: Option<DatasetName>) -> Result<Vec<DatasetReport>, ControlError> {
        let mut request = tonic::Request::new(v1::GetStatusRequest { dataset: dataset.map(Into::into) });
        request.set_timeout(PATIENCE);
        let answer = self.inner.get_status(request).await?.into_inner();
        Ok(all(answer.datasets)?)
    }

    /// The same now and then whenever it changed, at most once an `interval`.
    pub async fn watch(&mut self, dataset: Option<DatasetName>, interval: Duration) -> Result<Watch, ControlError> {
        let request = v1::WatchStatusRequest {
            dataset: dataset.map(Into::into),
            // A length of time beyond what protobuf can say is a wish for the longest.
            interval: Some(interval.try_into().unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })),
        };
        Ok(Watch { stream: self.inner.watch_status(request).await?.into_inner() })
    }

    /// Asks for a new listing of the Dataset's stores; returns when the wish is noted.
    pub async fn refresh(&mut self, dataset: DatasetName) -> Result<(), ControlError> {
        let mut request = tonic::Request::new(v1::RefreshRequest { dataset: Some(dataset.into()) });
        request.set_timeout(PATIENCE);
        self.inner.refresh(request).await?;
        Ok(())
    }
}

/// A running [`Client::watch`]; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<v1::WatchStatusResponse>,
}

impl Watch {
    /// The next state; `None` when the agent ended. Cancellation-safe: a state not waited for comes again.
    pub async fn next(&mut self) -> Result<Option<Vec<DatasetReport>>, ControlError> {
        let Some(answer) = self.stream.message().await? else { return Ok(None) };
        Ok(Some(all(answer.datasets)?))
    }
}
