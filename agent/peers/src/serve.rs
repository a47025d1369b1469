//! One request of a peer, answered.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_store::policy::Priority;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_RANGE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::ask::{AGE, HOLDERS, NODE, SEEN};
use crate::fanout::{Admitted, Asker, Fanout, Pass};
use crate::net::Net;
use crate::throttle::{Throttle, room};
use crate::unsent::Unsent;
use crate::{Asked, AskedCatalog, ask, tls};

/// Bodies that are sent at a time; each holds at most one block in memory.
const BODIES: usize = 48;
/// Those of background work among them.
const BACKGROUND: usize = BODIES / 2;
/// Bodies beside these of what is held and asked for as such. Whoever sends one waits for nobody, and it must not wait for those that do: else
/// agents could wait for each other in a circle.
const HELD: usize = 24;
/// Catalogs that are sent at a time.
const CATALOGS: usize = 4;
/// Questions for catalogs that wait at a time: each has a connection, of which readers need the most.
const WAITING: usize = 64;
/// A connection is closed after so long, so that no certificate counts for much longer than it is valid.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);

/// Why a body broke off.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// The bytes asked for, in order.
pub type Answer = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why this agent does not give what is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not serve such a Dataset or store.
    #[error("not served here")]
    NotHere,
    /// Only what is held was asked for, and this is not.
    #[error("not held here")]
    NotHeld,
    /// A catalog that will not come: the stores cannot be listed here.
    #[error("not to be listed here")]
    NotListed,
}

/// A catalog, or word of one.
pub enum CatalogAnswer {
    /// This one.
    Here {
        /// Its bytes, in order.
        pieces: Answer,
        /// How many.
        len: u64,
        /// Time since its listing began.
        age: Duration,
    },
    /// It is being listed.
    NotYet {
        /// Objects listed so far.
        seen: u64,
    },
}

/// Where a server's answers come from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The bytes asked for, exactly, read as they are polled for. Where they are missing they are brought in (but not for [`Asked::held`]), and
    /// another agent is never waited for to bring them in (see [`crate::PeerStore::for_others`]).
    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal>;

    /// A catalog that is as wanted. Where there is none and it may be waited for, it waits for one, much shorter than
    /// [`crate::Limits::catalog`]. Who lists nothing has none.
    async fn catalog(&self, _asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
        Err(Refusal::NotHere)
    }
}

type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What all connections share.
pub(crate) struct Serve {
    net: Arc<Net>,
    source: Arc<dyn Source>,
    bodies: Arc<Semaphore>,
    background: Arc<Semaphore>,
    held: Arc<Semaphore>,
    held_background: Arc<Semaphore>,
    catalogs: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Requests for bytes that may wait for others or for the store: not for all connections, or who need not wait would find none.
    patient: Semaphore,
    fanout: Arc<Fanout>,
    throttle: Option<Arc<Throttle>>,
    /// Connections that may still be opened.
    pub(crate) slots: Arc<Semaphore>,
    /// Below so many, those that have been served make room for those that wait to be.
    crowded: usize,
}

impl Serve {
    /// `slots`: connections at a time.
    pub(crate) fn new(net: Arc<Net>, source: Arc<dyn Source>, slots: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        // Of what a bound has room for, bodies have half, and what is held and catalogs a quarter each.
        let bandwidth = net.limits.bandwidth;
        let within = |permits: usize, share: u64| semaphore(bandwidth.map_or(permits, |bound| permits.min(room(bound, share))));
        let (bodies, background) = (within(BODIES, 2), within(BACKGROUND, 4));
        // More than there are turns would wait for one, and not for who has it. A quarter is left for what goes to other zones: who waits there for
        // the one that is to get it would wait for that one's turn, too.
        let turns = bodies.available_permits();
        let fanout = Arc::new(Fanout::new(net.limits.fanout.min(turns - turns / 4), net.limits.patience));
        Self {
            net,
            source,
            bodies,
            background,
            held: within(HELD, 4),
            held_background: within(HELD / 2, 8),
            catalogs: within(CATALOGS, 4),
            waiting: semaphore(WAITING),
            fanout,
            throttle: bandwidth.map(|bound| Arc::new(Throttle::new(bound))),
            patient: Semaphore::new(slots - slots / 4),
            slots: semaphore(slots),
            crowded: slots / 4,
        }
    }

    async fn turn(&self, asked: &Asked) -> Option<Turn> {
        let priority = asked.priority;
        let (all, background) = match asked.held {
            true => (&self.held, &self.held_background),
            false => (&self.bodies, &self.background),
        };
        let turn = async {
            let _background = match priority {
                Priority::Prefetch => background.clone().acquire_owned().await.ok(),
                Priority::Reader => None,
            };
            Turn { _body: all.clone().acquire_owned().await.ok(), _background, pass: None, priority }
        };
        let limits = &self.net.limits;
        timeout(if asked.held { limits.turn.min(limits.held / 2) } else { limits.turn }, turn).await.ok()
    }
}

/// The right to send a body.
struct Turn {
    _body: Option<OwnedSemaphorePermit>,
    _background: Option<OwnedSemaphorePermit>,
    pass: Option<Pass>,
    priority: Priority,
}

/// One connection of a peer whose certificate's chain was verified.
pub(crate) struct Connection {
    pub(crate) serve: Arc<Serve>,
    pub(crate) certificate: CertificateDer<'static>,
    /// The node that the first request named, if the certificate is that of its agent.
    known: OnceLock<Option<String>>,
    since: Instant,
    unsent: Arc<Unsent>,
}

impl Connection {
    pub(crate) fn new(serve: Arc<Serve>, certificate: CertificateDer<'static>) -> Self {
        Self { serve, certificate, known: OnceLock::new(), since: Instant::now(), unsent: Arc::default() }
    }

    /// For how long the peer has not taken a piece.
    pub(crate) fn stalled(&self) -> Duration {
        self.unsent.age()
    }

    /// Answers one request. Never fails: what is wrong is a status.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let mut response = self.respond(&request).await.unwrap_or_else(|(status, why)| {
            let body = Full::new(Bytes::from(why)).map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = status;
            response
        });
        if self.since.elapsed() > CONNECTION_LIFE || self.serve.slots.available_permits() < self.serve.crowded {
            response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn respond(self: &Arc<Self>, request: &Request<Incoming>) -> Result<Response<Body>, (StatusCode, String)> {
        let Some(node) = self.node(request) else {
            return Err((StatusCode::FORBIDDEN, "the certificate is of no agent of this runtime on the node named".to_owned()));
        };
        let asked = ask::Request::parse(request.method(), request.uri(), request.headers());
        match asked.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))? {
            ask::Request::Bytes(asked) => self.bytes(&asked, node).await,
            ask::Request::Catalog(asked) => self.catalog(&asked).await,
        }
    }

    async fn bytes(self: &Arc<Self>, asked: &Asked, node: &str) -> Result<Response<Body>, (StatusCode, String)> {
        // Nothing is read before the first piece is wanted, and who is refused need not wait for a turn.
        let mut answer = self.serve.source.read(asked).await.map_err(not_found)?;
        let patient = if asked.held { None } else { Some(self.serve.patient.try_acquire().map_err(|_| too_many())?) };
        let asker = Asker { node, zone: self.serve.net.other_zone(node), unsent: self.unsent.clone() };
        let pass = match self.serve.fanout.admit(asked, asker).await {
            Admitted::Here(pass) => pass,
            Admitted::Elsewhere(nodes) => {
                let response = Response::builder().status(StatusCode::SEE_OTHER).header(HOLDERS, nodes.join(","));
                return response.body(nothing()).map_err(unsaid);
            }
        };
        let turn = self.serve.turn(asked).await.ok_or_else(too_many)?;
        // A store that fails at once can be told as such; later the body can only break off.
        let first = match answer.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => return Err((StatusCode::BAD_GATEWAY, error.to_string())),
            None => return Err((StatusCode::BAD_GATEWAY, "there are no bytes".to_owned())),
        };
        drop(patient);
        let pieces = stream::iter([Ok(first)]).chain(answer).boxed();
        let response = Response::builder().status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, asked.content_range());
        self.send(response, asked.range.end - asked.range.start, pieces, Turn { pass, ..turn })
    }

    /// A turn is for sending: who waits for a listing takes nobody's.
    async fn catalog(self: &Arc<Self>, asked: &AskedCatalog) -> Result<Response<Body>, (StatusCode, String)> {
        let response = Response::builder();
        let waits = self.serve.waiting.try_acquire();
        let found = match &waits {
            Ok(_) => self.serve.source.catalog(asked).await,
            Err(_) => match self.serve.source.catalog(&AskedCatalog { held: true, ..asked.clone() }).await {
                // It may be about to be there: who asks comes again.
                Err(Refusal::NotHeld | Refusal::NotHere) if !asked.held => Ok(CatalogAnswer::NotYet { seen: 0 }),
                found => found,
            },
        };
        drop(waits);
        match found.map_err(not_found)? {
            CatalogAnswer::NotYet { seen } => {
                let response = response.status(StatusCode::ACCEPTED).header(SEEN, seen).header(CONTENT_LENGTH, 0);
                response.body(nothing()).map_err(unsaid)
            }
            CatalogAnswer::Here { pieces, len, age } => {
                let asked_at = Instant::now();
                let turn = timeout(self.serve.net.limits.turn, self.serve.catalogs.clone().acquire_owned())
                    .await
                    .map_err(|_| too_many())?;
                // Whoever begins to read the Dataset waits for it.
                let turn = Turn { _body: turn.ok(), _background: None, pass: None, priority: Priority::Reader };
                // One of an age that nobody knows stays so.
                let age = u64::try_from(age.saturating_add(asked_at.elapsed()).as_millis()).unwrap_or(u64::MAX);
                self.send(response.header(AGE, age), len, pieces, turn)
            }
        }
    }

    fn send(
        self: &Arc<Self>,
        response: http::response::Builder,
        len: u64,
        pieces: Answer,
        turn: Turn,
    ) -> Result<Response<Body>, (StatusCode, String)> {
        // While a piece waits here it is not handed out yet, so nobody takes the receiver for one that takes nothing.
        let pieces = match &self.serve.throttle {
            Some(throttle) => throttle.pace(pieces, turn.priority),
            None => pieces,
        };
        let sending = Sending { pieces, left: len, connection: self.clone(), turn };
        response.header(CONTENT_LENGTH, len).body(StreamBody::new(sending).boxed_unsync()).map_err(unsaid)
    }

    /// The node that the first request said it was of, if the certificate is that of its agent, by a name that only this runtime's agents have.
    fn node(&self, request: &Request<Incoming>) -> Option<&str> {
        let judge = || {
            let node = request.headers().get(NODE)?.to_str().ok()?;
            tls::is_for(&self.certificate, &self.serve.net.name_of(node)).then(|| node.to_owned())
        };
        self.known.get_or_init(judge).as_deref()
    }
}

fn nothing() -> Body {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

fn too_many() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "too many ask at once".to_owned())
}

fn not_found(refusal: Refusal) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, refusal.to_string())
}

fn unsaid(error: http::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// A body on its way, which tells when it waits for the receiver.
struct Sending {
    pieces: Answer,
    /// Bytes that are still to be handed out.
    left: u64,
    connection: Arc<Connection>,
    turn: Turn,
}

impl Stream for Sending {
    type Item = Result<Frame<Bytes>, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connection.unsent.taken();
        let polled = self.pieces.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            self.left = self.left.saturating_sub(piece.len() as u64);
            if let (0, Some(pass)) = (self.left, &mut self.turn.pass) {
                pass.done();
            }
            self.connection.unsent.handed_out();
        }
        polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.connection.unsent.taken();
    }
}
