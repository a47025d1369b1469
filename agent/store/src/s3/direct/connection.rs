//! One connection, driven by whoever uses it: no task of its own, so no switch between tasks for a request, its answer and each
//! piece of a body.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Weak;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::pool::Pool;

pub(super) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Bytes that a connection takes from its socket at a time, up to twice that once its buffer has grown. Each connection keeps so much memory, of which the bound on bytes in flight
/// knows nothing; hyper's usual three times as much is no faster.
const READ_AT_ONCE: usize = 128 << 10;

pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: http1::Connection<Io, Empty<Bytes>>,
}

impl Connection {
    pub(super) async fn over(io: Io) -> hyper::Result<Self> {
        let (sender, driver) = http1::Builder::new().max_buf_size(READ_AT_ONCE).handshake(io).await?;
        Ok(Self { sender, driver })
    }

    /// Whether another request may be sent: the last answer was read to its end and neither side has closed.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut context = Context::from_waker(futures::task::noop_waker_ref());
        Pin::new(&mut self.driver).poll(&mut context).is_pending() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer. The body ends when the connection does.
    pub(super) async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let mut answer = pin!(self.sender.send_request(request));
        let driver = &mut self.driver;
        poll_fn(move |context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            // An end of the connection ends the answer too, with the reason.
            let _ = Pin::new(&mut *driver).poll(context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// An answer's body, and the connection that it comes over, which goes back into the pool at the body's end.
pub(in crate::s3) struct Body {
    incoming: Incoming,
    connection: Option<Connection>,
    pool: Weak<Pool>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, connection: Connection, pool: Weak<Pool>) -> Self {
        Self { incoming, connection: Some(connection), pool }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    // Trailers.
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(failed))) => return Poll::Ready(Some(Err(failed))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Stream for Body {
    type Item = hyper::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut polled = this.poll_data(context);
        if polled.is_pending()
            && let Some(connection) = &mut this.connection
        {
            if Pin::new(&mut connection.driver).poll(context).is_ready() {
                this.connection = None;
            }
            polled = this.poll_data(context);
        }
        let over = match &polled {
            Poll::Ready(Some(Ok(_))) => this.incoming.is_end_stream(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if over && let (Some(connection), Some(pool)) = (this.connection.take(), this.pool.upgrade()) {
            pool.put(connection);
        }
        polled
    }
}
