//! One other agent, as a client sees it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_store::policy::Priority;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ask::{AGE, Asked, AskedCatalog, HOLDERS, NODE, SEEN};
use crate::breaker::Breaker;
use crate::net::Net;
use crate::pool::{Lease, Permits, Pool};

/// Why a peer gave no data.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It works, and cannot serve this now.
    #[error("it answered {0}")]
    Refused(StatusCode),
    /// It works; these nodes have what is wanted.
    #[error("it names {0:?}")]
    Elsewhere(Vec<String>),
    /// All connections to it stayed in use.
    #[error("all connections are in use")]
    Busy,
    /// It took a connection, and did not say in time whether it holds what is wanted.
    #[error("it did not say in time whether it holds it")]
    Late(Late),
    /// It does not work.
    #[error("{0}")]
    Failed(String),
}

/// What is made of a peer that takes a connection and does not say in time whether it holds something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Late {
    /// It does not work.
    Failed,
    /// It has much to do: what it is the owner of can be waited for longer.
    Busy,
}

/// Questions to one peer at a time for what it holds.
const HELD: usize = 4;
/// Catalogs asked of one peer at a time.
const CATALOGS: usize = 8;
/// Bytes of a refusal's words, at most.
const WORDS: usize = 1024;
/// Bytes of a catalog that no node can have: of 300 million files it has as many.
const LONGEST: u64 = 64 << 30;
/// Bytes a second of a catalog; what takes longer comes from elsewhere.
const SLOWEST: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    connections: usize,
    pool: Arc<Pool>,
    /// Who is asked for what it holds need wait for nobody, so no request that waits may be before it: two agents of which each answers only
    /// when the other has answered would wait in a circle.
    held: Arc<Pool>,
    /// Who waits for a listing takes no connection of those who wait for bytes.
    catalogs: Arc<Pool>,
    breaker: Mutex<Breaker>,
    /// Bytes.
    given: AtomicU64,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, name: ServerName<'static>, connections: usize) -> Self {
        let pool = |connections| Arc::new(Pool::new(address, name.clone(), connections));
        let (bytes, held, catalogs) = (pool(connections), pool(connections.min(HELD)), pool(CATALOGS));
        Self { address, connections, pool: bytes, held, catalogs, breaker: Mutex::default(), given: AtomicU64::new(0) }
    }

    pub(crate) fn is_at(&self, address: SocketAddr, connections: usize) -> bool {
        self.address == address && self.connections == connections
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that it has given.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Asks; a body has given its first piece already. What comes of it, the breaker knows.
    pub(crate) async fn get(self: &Arc<Self>, net: &Arc<Net>, asked: &Asked) -> Result<PeerBody, PeerError> {
        let got = async {
            let permits = self.permits(&self.pool, asked, Instant::now() + net.limits.queue).await?;
            let lease = Pool::lease(&self.pool, net, permits).await.map_err(PeerError::Failed)?;
            self.try_get(net, lease, asked).await
        };
        self.noted(net, got.await)
    }

    /// Asks for what it holds, which it says at once: for a connection this waits until then, and for the peer no longer than its part of
    /// [`crate::Limits::held`] after.
    pub(crate) async fn held(
        self: &Arc<Self>,
        net: &Arc<Net>,
        asked: &Asked,
        until: Instant,
        late: Late,
    ) -> Result<PeerBody, PeerError> {
        self.noted(net, self.try_held(net, asked, until, late).await)
    }

    async fn try_held(
        self: &Arc<Self>,
        net: &Arc<Net>,
        asked: &Asked,
        until: Instant,
        late: Late,
    ) -> Result<PeerBody, PeerError> {
        let permits = self.permits(&self.held, asked, until).await?;
        let until = until.max(Instant::now() + net.limits.held * 3 / 4);
        let failed = |_| PeerError::Failed("it did not take a connection in time".to_owned());
        // However much it has to do, a peer that works takes a connection.
        let lease = timeout_at(until, Pool::lease(&self.held, net, permits)).await;
        let lease = lease.map_err(failed)?.map_err(PeerError::Failed)?;
        timeout_at(until, self.try_get(net, lease, asked)).await.unwrap_or(Err(PeerError::Late(late)))
    }

    async fn permits(&self, pool: &Pool, asked: &Asked, until: Instant) -> Result<Permits, PeerError> {
        let permits = pool.permits(asked.priority == Priority::Prefetch);
        timeout_at(until, permits).await.map_err(|_| PeerError::Busy)
    }

    /// Asks for a catalog.
    pub(crate) async fn catalog(self: &Arc<Self>, net: &Arc<Net>, asked: &AskedCatalog) -> Result<PeerCatalog, PeerError> {
        self.noted(net, self.try_catalog(net, asked).await)
    }

    fn noted<T>(&self, net: &Net, got: Result<T, PeerError>) -> Result<T, PeerError> {
        match &got {
            // Whether it works to the end the body tells.
            Ok(_) => {}
            Err(PeerError::Refused(_) | PeerError::Elsewhere(_) | PeerError::Busy | PeerError::Late(Late::Busy)) => {
                self.breaker().answered();
            }
            Err(PeerError::Late(Late::Failed) | PeerError::Failed(_)) => self.breaker().failed(net.now()),
        }
        got
    }

    async fn try_get(self: &Arc<Self>, net: &Arc<Net>, lease: Lease, asked: &Asked) -> Result<PeerBody, PeerError> {
        let limits = &net.limits;
        let mut budget = limits.whole;
        let made = || request(net, &asked.uri(), |headers| asked.add_headers(headers));
        let (response, lease) = send(net, lease, &mut budget, limits.first_byte, made).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let why = match response.status() {
                StatusCode::SEE_OTHER => PeerError::Elsewhere(holders(&response)),
                status => PeerError::Refused(status),
            };
            keep(response, lease, &mut budget, limits.progress).await;
            return Err(why);
        }
        check(&response, asked).map_err(PeerError::Failed)?;
        let mut body = self.body(net, response, lease, asked.range.end - asked.range.start, budget);
        // Until then another one can be asked from the start.
        body.first = body.read(body.net.limits.first_byte).await?;
        Ok(body)
    }

    async fn try_catalog(self: &Arc<Self>, net: &Arc<Net>, asked: &AskedCatalog) -> Result<PeerCatalog, PeerError> {
        let limits = &net.limits;
        let permits = timeout(limits.catalog, self.catalogs.permits(false)).await.map_err(|_| PeerError::Busy)?;
        let lease = Pool::lease(&self.catalogs, net, permits).await.map_err(PeerError::Failed)?;
        // Who needs not wait answers as soon as for bytes.
        let mut budget = if asked.held { limits.first_byte } else { limits.catalog };
        let made = || request(net, &asked.uri(), |headers| asked.add_headers(headers));
        let (response, lease) = send(net, lease, &mut budget, limits.catalog, made).await?;
        let says = |name: &str| response.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
        let lacks = |name| move || PeerError::Failed(format!("its answer has no {name}"));
        match response.status() {
            StatusCode::OK => {
                let len = says(CONTENT_LENGTH.as_str()).ok_or_else(lacks("length"))?;
                if len > LONGEST {
                    return Err(PeerError::Refused(StatusCode::PAYLOAD_TOO_LARGE));
                }
                let budget = limits.whole.saturating_add(Duration::from_secs(len / SLOWEST));
                let age = Duration::from_millis(says(AGE).ok_or_else(lacks(AGE))?);
                Ok(PeerCatalog::Here { body: self.body(net, response, lease, len, budget), age })
            }
            StatusCode::ACCEPTED => {
                let seen = says(SEEN).ok_or_else(lacks(SEEN))?;
                self.breaker().succeeded();
                lease.give_back();
                Ok(PeerCatalog::NotYet { seen })
            }
            status => Err(PeerError::Refused(status)),
        }
    }

    fn body(
        self: &Arc<Self>,
        net: &Arc<Net>,
        response: Response<Incoming>,
        lease: Lease,
        left: u64,
        budget: Duration,
    ) -> PeerBody {
        let (peer, net) = (self.clone(), net.clone());
        PeerBody { incoming: response.into_body(), lease: Some(lease), peer, net, left, budget, first: None }
    }
}

/// What a peer says when it is asked for a catalog.
pub(crate) enum PeerCatalog {
    /// Here it is; so long ago its listing began.
    Here { body: PeerBody, age: Duration },
    /// It is being listed, and so many objects were seen.
    NotYet { seen: u64 },
}

/// Sends a request over the connection, or over a new one if the peer had closed it.
async fn send(
    net: &Net,
    mut lease: Lease,
    budget: &mut Duration,
    first_byte: Duration,
    request: impl Fn() -> Result<Request<Empty<Bytes>>, http::Error>,
) -> Result<(Response<Incoming>, Lease), PeerError> {
    let failed = |error: &dyn std::fmt::Display| PeerError::Failed(error.to_string());
    loop {
        let request = request().map_err(|e| failed(&e))?;
        let sent = wait(budget, first_byte, lease.sender.send_request(request)).await.map_err(PeerError::Failed)?;
        match sent {
            Ok(response) => return Ok((response, lease)),
            // The peer closed the connection while nobody used it.
            Err(_) if lease.used => lease.renew(net).await.map_err(PeerError::Failed)?,
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn request(net: &Net, uri: &str, add: impl Fn(&mut HeaderMap)) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(uri).header(HOST, "agent").header(NODE, net.node()).body(Empty::new())?;
    add(request.headers_mut());
    Ok(request)
}

/// The nodes that an answer names.
fn holders(response: &Response<Incoming>) -> Vec<String> {
    let named = response.headers().get(HOLDERS).and_then(|named| named.to_str().ok()).unwrap_or_default();
    named.split(',').filter(|node| !node.is_empty()).map(str::to_owned).collect()
}

/// A refusal has few words; when they are read, the connection can be used again.
async fn keep(response: Response<Incoming>, lease: Lease, budget: &mut Duration, limit: Duration) {
    let words = Limited::new(response.into_body(), WORDS);
    if let Ok(Ok(_)) = wait(budget, limit, words.collect()).await {
        lease.give_back();
    }
}

/// Whether the answer is the range asked for, of an object of this size.
fn check(response: &Response<Incoming>, asked: &Asked) -> Result<(), String> {
    let says = |name| response.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let length = (asked.range.end - asked.range.start).to_string();
    if says(CONTENT_RANGE) == asked.content_range().as_bytes() && says(CONTENT_LENGTH) == length.as_bytes() {
        return Ok(());
    }
    Err(format!("it gives {:?} for {}", String::from_utf8_lossy(says(CONTENT_RANGE)), asked.content_range()))
}

/// Waits for `limit` at most and for no more than what is left of `budget`.
async fn wait<T>(budget: &mut Duration, limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    let start = Instant::now();
    let done = timeout(limit.min(*budget), work).await;
    *budget = budget.saturating_sub(start.elapsed());
    done.map_err(|_| "it did not go on in time".to_owned())
}

/// The bytes of an answer: exactly those asked for, or an error.
pub(crate) struct PeerBody {
    incoming: Incoming,
    lease: Option<Lease>,
    peer: Arc<Peer>,
    net: Arc<Net>,
    left: u64,
    budget: Duration,
    first: Option<Bytes>,
}

impl PeerBody {
    /// The next piece; `None` at the end of the range.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        self.read(self.net.limits.progress).await.inspect_err(|_| self.peer.breaker().failed(self.net.now()))
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    async fn read(&mut self, limit: Duration) -> Result<Option<Bytes>, PeerError> {
        loop {
            let frame = wait(&mut self.budget, limit, self.incoming.frame()).await.map_err(PeerError::Failed)?;
            let data = match frame {
                None if self.left == 0 => {
                    self.peer.breaker().succeeded();
                    // A body that was read to its end leaves the connection as it was.
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Ok(None);
                }
                None => return Err(PeerError::Failed(format!("the body ended {} bytes early", self.left))),
                Some(Err(error)) => return Err(PeerError::Failed(error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            let len = data.len() as u64;
            self.left = self.left.checked_sub(len).ok_or_else(|| PeerError::Failed("the body is too long".to_owned()))?;
            self.peer.given.fetch_add(len, Ordering::Relaxed);
            return Ok(Some(data));
        }
    }
}
