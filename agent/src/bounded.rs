//! Listeners that take only so many connections at a time, each for only so long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// After an error of `accept`, mostly for want of descriptors, others get the time to give some back.
const CALM: Duration = Duration::from_secs(1);

/// Takes connections while fewer than `most` are open; the others wait in the kernel.
#[derive(Debug)]
pub(crate) struct Bounded<L> {
    listener: L,
    permits: Arc<Semaphore>,
    longest: Option<Duration>,
}

impl<L> Bounded<L> {
    /// At most `most` connections; each is cut after `longest`.
    pub(crate) fn new(listener: L, most: usize, longest: Option<Duration>) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(most)), longest }
    }

    async fn next<S, A>(&mut self, accept: impl AsyncFn(&L) -> io::Result<(S, A)>) -> Option<(Counted<S>, A)> {
        // Only a closed semaphore gives no permit, and nobody closes this one.
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        loop {
            match accept(&self.listener).await {
                Ok((stream, from)) => {
                    let deadline = self.longest.map(|longest| Box::pin(tokio::time::sleep(longest)));
                    return Some((Counted { stream, deadline, _permit: permit }, from));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(CALM).await;
                }
            }
        }
    }
}

impl Bounded<UnixListener> {
    /// The connections as tonic wants them.
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Counted<UnixStream>>> {
        futures::stream::unfold(self, async |mut this| {
            let (stream, _) = this.next(UnixListener::accept).await?;
            Some((Ok(stream), this))
        })
    }
}

impl axum::serve::Listener for Bounded<TcpListener> {
    type Io = Counted<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.next(TcpListener::accept).await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    deadline: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> Counted<S> {
    fn expired(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.expired(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.expired(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Counted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]
    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    /// Generous: only a hang takes so long.
    const LONG: Duration = Duration::from_secs(60);

    async fn listener(most: usize, longest: Option<Duration>) -> (Bounded<TcpListener>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Bounded::new(listener, most, longest), address)
    }

    #[tokio::test]
    async fn one_more_than_allowed_waits_until_another_goes() {
        let (mut listener, address) = listener(2, None).await;
        let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let _third = TcpStream::connect(address).await.unwrap();
        let first = listener.accept().await.0;
        let _second = listener.accept().await.0;
        let early = timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(early.is_err(), "two are open already");
        drop(first);
        timeout(LONG, listener.accept()).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_works_before_its_time_is_up() {
        let (mut listener, address) = listener(1, Some(LONG)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut served = listener.accept().await.0;
        client.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        served.write_all(b"b").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn a_connection_is_cut_when_its_time_is_up() {
        let (mut listener, address) = listener(1, Some(Duration::from_millis(50))).await;
        let _client = TcpStream::connect(address).await.unwrap();
        let mut served = listener.accept().await.0;
        let error = timeout(LONG, served.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(served.write(b"a").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
