//! The stream between the operator and one agent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use forebay_api::operator::agents_server::Agents;
use forebay_api::operator::{AgentMessage as WireAgent, OperatorMessage as WireOperator};
use forebay_api::session::{AgentIdentity, AgentMessage, Hello, OperatorMessage};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Request, Response, Status, Streaming};

use super::authority::agent_of;
use super::desired::{Told, Word};
use super::{Leadership, Leads, not_leading};
use crate::stores::Change;

/// Words on their way to one agent.
const QUEUE: usize = 16;
/// An agent that takes no message for so long is cut; it connects again and hears what is newest.
const SLOW: Duration = Duration::from_secs(30);
/// An agent that says nothing for so long is cut.
const SILENT: Duration = Duration::from_secs(30);
/// Time for the first word.
const GREETING: Duration = Duration::from_secs(10);

pub(super) struct SessionService {
    pub(super) leads: Leads,
}

#[tonic::async_trait]
impl Agents for SessionService {
    type SessionStream = Words;

    async fn session(&self, request: Request<Streaming<WireAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let leadership = self.leads.get()?;
        let info = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = info.and_then(TlsConnectInfo::peer_certs).unwrap_or_default();
        let (agent, until) = certificates
            .first()
            .and_then(agent_of)
            .ok_or_else(|| Status::unauthenticated("a session needs an agent's certificate: enrol first"))?;
        let life = until.duration_since(SystemTime::now()).unwrap_or_default();
        if life.is_zero() {
            return Err(expired());
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run(leadership, agent, life, request.into_inner(), sender));
        Ok(Response::new(Words(receiver)))
    }
}

fn expired() -> Status {
    Status::unauthenticated("the certificate has expired: enrol again")
}

type Sender = mpsc::Sender<Result<Word, Status>>;

/// Words on their way to an agent. Each becomes its message when the connection takes it: words share what they tell, and of messages a
/// thousand agents that read slowly would have a copy each.
pub(super) struct Words(mpsc::Receiver<Result<Word, Status>>);

impl Stream for Words {
    type Item = Result<WireOperator, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map_ok(|word| OperatorMessage::from(word).into())
    }
}

async fn run(leadership: Leadership, agent: AgentIdentity, life: Duration, mut words: Streaming<WireAgent>, sender: Sender) {
    let token = leadership.token.clone();
    let hello = match timeout(GREETING, greeting(&mut words)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(status)) => return drop(sender.try_send(Err(status))),
        Err(_) => return drop(sender.try_send(Err(Status::deadline_exceeded("a session begins with Hello")))),
    };
    let (runtime, node) = (agent.runtime.as_str(), agent.node.as_str());
    tracing::info!(runtime, node, pod = hello.pod_name, version = hello.version, "agent connected");
    let session = leadership.registry.connect(&agent, hello, Instant::now());
    leadership.news.add(Change::Agents(runtime.to_owned()));
    let end = tokio::select! {
        status = listen(&leadership, &agent, session, &mut words) => status,
        status = tell(&leadership, &agent, &sender) => status,
        () = token.cancelled() => not_leading(),
        () = tokio::time::sleep(life) => expired(),
    };
    leadership.registry.disconnect(&agent, session);
    leadership.news.add(Change::Agents(runtime.to_owned()));
    tracing::info!(runtime, node, why = end.message(), "agent's session ended");
    // With a full queue the agent learns of the end by the stream's, without the reason.
    let _ = sender.try_send(Err(end));
}

async fn greeting(words: &mut Streaming<WireAgent>) -> Result<Hello, Status> {
    let first = words.message().await?.ok_or_else(|| Status::cancelled("the agent went without a word"))?;
    match AgentMessage::try_from(first) {
        Ok(AgentMessage::Hello(hello)) => Ok(hello),
        Ok(_) => Err(Status::invalid_argument("a session begins with Hello")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// Hears the agent until the session is over; says why it is.
async fn listen(leadership: &Leadership, agent: &AgentIdentity, session: u32, words: &mut Streaming<WireAgent>) -> Status {
    let Leadership { registry, news, .. } = leadership;
    loop {
        let word = match timeout(SILENT, words.message()).await {
            Ok(Ok(Some(word))) => word,
            Ok(Ok(None)) => return Status::cancelled("the agent ended the session"),
            Ok(Err(status)) => return status,
            Err(_) => return Status::deadline_exceeded("the agent said nothing for 30 seconds"),
        };
        let now = Instant::now();
        let current = match AgentMessage::try_from(word) {
            Ok(AgentMessage::Dataset(progress)) => {
                let (namespace, name) = (progress.report.namespace.clone(), progress.report.name.clone());
                news.add(Change::Progress { namespace, name });
                registry.progress(agent, session, progress, now)
            }
            Ok(AgentMessage::Health(health)) => {
                news.add(Change::Health(agent.runtime.as_str().to_owned()));
                registry.health(agent, session, health, now)
            }
            Ok(AgentMessage::Released(released)) => {
                let (namespace, name) = (released.dataset.namespace, released.dataset.name);
                news.add(Change::Dataset { namespace, name });
                news.add(Change::Runtime(agent.runtime.as_str().to_owned()));
                registry.released(agent, session, &released.uid, now)
            }
            Ok(AgentMessage::Hello(_)) => return Status::invalid_argument("Hello comes once"),
            // An agent of another version says something more; the rest of what it says is of use.
            Err(error) => {
                tracing::warn!(node = agent.node.as_str(), %error, "an agent's message was left out");
                true
            }
        };
        if !current {
            return Status::aborted("a newer session of this agent has begun");
        }
    }
}

/// Tells the agent what is desired, and each change. Returns when the agent does not listen.
async fn tell(leadership: &Leadership, agent: &AgentIdentity, sender: &Sender) -> Status {
    let mut desired = leadership.published.follow(&agent.runtime);
    let mut told = Told::default();
    loop {
        let newest = Arc::clone(&desired.borrow_and_update());
        for word in told.next(&newest.on(&agent.node)) {
            match timeout(SLOW, sender.send(Ok(word))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Status::cancelled("the agent ended the session"),
                Err(_) => return Status::resource_exhausted("the agent took no message for 30 seconds: connect again"),
            }
        }
        if desired.changed().await.is_err() {
            return not_leading();
        }
    }
}
