//! A connection on which both sides may call: calls are numbered, answers come in any order.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::error::{CallError, Reason, Refusal};
use super::socket::Socket;
use super::wire::{self, Body, Outcome};
use crate::InvalidMessage;
use crate::generated::node::v1;

/// How long an answer may take. Longer than the agent may need to open a Dataset; shorter than kubelet waits for csi.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Calls of the other side that are worked on at once; more are refused.
const AT_ONCE: usize = 256;

type Answers = HashMap<u64, oneshot::Sender<(v1::Answer, Vec<OwnedFd>)>>;

/// What a call came to, and the descriptors that go with the answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    pub(crate) with: Vec<OwnedFd>,
}

impl From<Outcome> for Answered {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, with: Vec::new() }
    }
}

/// One side's view of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
    next: AtomicU64,
    /// `None` once the connection has ended.
    answers: Mutex<Option<Answers>>,
}

/// Takes the call out of the table however its wait ends.
struct Pending<'a> {
    peer: &'a Peer,
    call: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(answers) = self.peer.answers().as_mut() {
            answers.remove(&self.call);
        }
    }
}

impl Peer {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, next: AtomicU64::new(1), answers: Mutex::new(Some(HashMap::new())) }
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Option<Answers>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.answers().is_none()
    }

    /// Sends what needs no answer.
    pub(crate) async fn tell(&self, body: Body, with: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.send(0, body, with.as_slice()).await
    }

    async fn send(&self, call: u64, body: Body, with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = v1::Packet { call, body: Some(body) }.encode_to_vec();
        self.socket.send(&packet, with).await
    }

    #[cfg(test)]
    pub(crate) async fn send_raw(&self, bytes: &[u8]) {
        let _ = self.socket.send(bytes, &[]).await;
    }

    /// The next packet; `None` at the end of the connection.
    pub(crate) async fn receive(&self) -> io::Result<Option<(v1::Packet, Vec<OwnedFd>)>> {
        let Some((bytes, with)) = self.socket.receive().await? else { return Ok(None) };
        let packet = v1::Packet::decode(bytes.as_slice());
        packet.map(|packet| Some((packet, with))).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Calls the other side and waits for its answer. Dropping the future forgets the answer, not the call.
    pub(crate) async fn call(&self, body: Body, with: Option<BorrowedFd<'_>>) -> Result<Outcome, CallError> {
        Ok(self.call_for_descriptors(body, with).await?.outcome)
    }

    /// The same for a call whose answer has descriptors.
    pub(crate) async fn call_for_descriptors(&self, body: Body, with: Option<BorrowedFd<'_>>) -> Result<Answered, CallError> {
        let (send, receive) = oneshot::channel();
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers().as_mut().ok_or(CallError::Gone)?.insert(call, send);
        let _pending = Pending { peer: self, call };
        let answered = async {
            self.send(call, body, with.as_slice()).await.map_err(|_| CallError::Gone)?;
            receive.await.map_err(|_| CallError::Gone)
        };
        let answer = tokio::time::timeout(ANSWERS_WITHIN, answered).await;
        let (answer, with) = answer.map_err(|_| CallError::TimedOut(ANSWERS_WITHIN.as_secs()))??;
        match answer.outcome {
            Some(Outcome::Refusal(refusal)) => Err(CallError::Refused(refusal.into())),
            Some(outcome) => Ok(Answered { outcome, with }),
            None => Err(InvalidMessage::missing("answer.outcome").into()),
        }
    }

    /// Serves the connection to its end: answers go to their calls, each call of the other side to `handle`. The calls being
    /// handled then are dropped. Ends with what ended it, `Ok` if the other side did.
    pub(crate) async fn run<F>(self: Arc<Self>, handle: impl Fn(Body, Option<OwnedFd>) -> F) -> io::Result<()>
    where
        F: Future<Output = Result<Answered, Refusal>> + Send + 'static,
    {
        let _ended = Ended(&self);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut work = JoinSet::new();
        loop {
            while work.try_join_next().is_some() {}
            let Some((packet, mut with)) = self.receive().await? else { return Ok(()) };
            let call = packet.call;
            let outcome = match packet.body {
                Some(Body::Answer(answer)) => {
                    if let Some(wanted) = self.answers().as_mut().and_then(|answers| answers.remove(&call)) {
                        let _ = wanted.send((answer, with));
                    }
                    continue;
                }
                None => Err(wire::unsupported()),
                Some(body) => match Arc::clone(&turns).try_acquire_owned() {
                    Ok(turn) => {
                        let (peer, handled) = (Arc::clone(&self), handle(body, with.pop()));
                        work.spawn(async move {
                            let outcome = handled.await;
                            drop(turn);
                            peer.answer(call, outcome).await;
                        });
                        continue;
                    }
                    Err(_) => Err(Refusal::new(Reason::NotReady, format!("more than {AT_ONCE} requests are being worked on"))),
                },
            };
            self.answer(call, outcome).await;
        }
    }

    async fn answer(&self, call: u64, answered: Result<Answered, Refusal>) {
        if call != 0 {
            let (outcome, with) = match answered {
                Ok(Answered { outcome, with }) => (Ok(outcome), with),
                Err(refusal) => (Err(refusal), Vec::new()),
            };
            let with: Vec<_> = with.iter().map(|descriptor| descriptor.as_fd()).collect();
            // If it does not arrive, the connection has ended, and its other side knows.
            let _ = self.send(call, Body::Answer(wire::answer(outcome)), &with).await;
        }
    }
}

/// Lets the other side, and whoever waits for an answer, know that none will come.
struct Ended<'a>(&'a Peer);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        *self.0.answers() = None;
        self.0.socket.shutdown();
    }
}
