//! The stream to the operator, for as long as the agent lives: connected again whenever it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use forebay_api::operator::agents_client::AgentsClient;
use forebay_api::session::{AgentMessage, Hello, MAX_MESSAGE_BYTES, OperatorMessage};
use forebay_peers::Net;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::identity::{Identity, Operator};

/// Messages that may wait to be sent. Reports are made anew each second, so more would only be older.
const WAITING: usize = 64;
/// The pause before the next attempt: short, because another replica of the operator may lead already.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What happens on the stream.
#[derive(Debug)]
pub(crate) enum Event {
    /// A session began; reports go to its sender.
    Began(mpsc::Sender<AgentMessage>),
    /// The operator said something.
    Said(OperatorMessage),
}

/// Talks to the operator until `stop`. `events` is bounded: an agent that is busy lets the operator wait.
pub(crate) async fn run(operator: Operator, hello: Hello, net: Arc<Net>, events: mpsc::Sender<Event>, stop: CancellationToken) {
    let mut identity: Option<Identity> = None;
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    while !stop.is_cancelled() {
        let spoken = tokio::select! {
            () = stop.cancelled() => break,
            spoken = session(&operator, &hello, &mut identity, &net, &events) => spoken,
        };
        match spoken {
            Ok(End::Renew) => {
                debug!("the session is begun anew with a new certificate");
                identity = None;
                pause = FIRST_PAUSE;
                continue;
            }
            Ok(End::Ended(why)) => {
                info!(%why, "the session with the operator has ended; serving goes on");
                pause = FIRST_PAUSE;
                told.clear();
            }
            Ok(End::Standby) => {
                // The certificate is good; only another replica has to be met, which the next connection may bring.
                debug!("this replica of the operator does not lead");
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                // Said once, not at each attempt.
                let text = format!("{error:#}");
                if text != told {
                    warn!(error = text, "no session with the operator; serving goes on, trying again");
                    told = text;
                }
                // It may be the certificate that is refused, by an operator with a new authority.
                identity = None;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        let jitter = 0.5 + fastrand::f64();
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
        }
    }
}

/// How a session that had begun came to its end.
enum End {
    /// The certificate is to be renewed.
    Renew,
    /// The replica does not lead.
    Standby,
    Ended(String),
}

async fn session(
    operator: &Operator,
    hello: &Hello,
    identity: &mut Option<Identity>,
    net: &Net,
    events: &mpsc::Sender<Event>,
) -> anyhow::Result<End> {
    let now = SystemTime::now();
    if identity.as_ref().is_none_or(|known| known.renew <= now) {
        let enrolled = operator.enrol(now).await.context("be enrolled")?;
        if let Err(error) = net.set_identity(&enrolled.for_peers()) {
            warn!(%error, "other agents are neither asked nor served");
        }
        *identity = Some(enrolled);
    }
    let Some(known) = identity else { return Ok(End::Renew) };
    let channel = operator.connect_as(known).await?;
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (send, sent) = mpsc::channel::<AgentMessage>(WAITING);
    send.send(AgentMessage::Hello(hello.clone())).await.context("say hello")?;
    let outgoing = tokio_stream::StreamExt::map(ReceiverStream::new(sent), Into::into);
    let refused = |status: tonic::Status| anyhow::anyhow!("{}", status.message());
    let mut incoming = match client.session(outgoing).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == tonic::Code::Unavailable => return Ok(End::Standby),
        Err(status) => return Err(refused(status)),
    };
    let first = match incoming.message().await {
        Ok(first) => first.context("the operator ended the session at once")?,
        Err(status) if status.code() == tonic::Code::Unavailable => return Ok(End::Standby),
        Err(status) => return Err(refused(status)),
    };
    info!(operator = operator.url, "the session with the operator has begun");
    let renewal = tokio::time::sleep(known.renew.duration_since(now).unwrap_or_default());
    tokio::pin!(renewal);
    let gone = || End::Ended("the agent ends".into());
    if events.send(Event::Began(send)).await.is_err() {
        return Ok(gone());
    }
    let mut next = Some(first);
    loop {
        if let Some(message) = next.take() {
            match OperatorMessage::try_from(message) {
                Ok(message) => {
                    if events.send(Event::Said(message)).await.is_err() {
                        return Ok(gone());
                    }
                }
                // One object that this version does not understand must not keep the others from being served.
                Err(error) => warn!(%error, "the operator said something that this agent does not understand"),
            }
        }
        tokio::select! {
            () = &mut renewal => return Ok(End::Renew),
            said = incoming.message() => match said {
                Ok(Some(message)) => next = Some(message),
                Ok(None) => return Ok(End::Ended("the operator ended it".into())),
                Err(status) => return Ok(End::Ended(status.message().to_owned())),
            },
        }
    }
}
