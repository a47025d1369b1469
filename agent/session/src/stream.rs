//! The stream to the operator, for as long as the agent lives: connected again whenever it ends.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use forebay_api::operator::agents_client::AgentsClient;
use forebay_api::session::{AgentMessage, Hello, MAX_MESSAGE_BYTES, OperatorMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::identity::{Identity, Operator};

/// Messages that may wait to be sent. Reports are made anew each second, so more would only be older.
const WAITING: usize = 64;
/// The pause before the next attempt: short, because another replica of the operator may lead already.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What happens on the stream.
#[derive(Debug)]
pub enum Event {
    /// A session began; reports go to its sender.
    Began(mpsc::Sender<AgentMessage>),
    /// The operator said something.
    Said(OperatorMessage),
}

/// Talks to the operator until `stop`. `events` is bounded: an agent that is busy lets the operator wait.
/// Whatever it is known by from then on is shown to `known_by`, before the operator is spoken to.
pub async fn run(
    operator: Operator,
    hello: Hello,
    known_by: impl Fn(&Identity) + Sync,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let mut identity: Option<Identity> = None;
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    while !stop.is_cancelled() {
        let spoken = tokio::select! {
            () = stop.cancelled() => break,
            spoken = session(&operator, &hello, &mut identity, &known_by, &events) => spoken,
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
                // It may be the certificate that is refused, by an operator with a new authority. Of one that is not there the
                // certificate is as good as before: a thousand agents that enrol anew are a thousand questions to the API server.
                if !is_away(&error) {
                    identity = None;
                }
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

/// Whether nobody listens where the operator should be.
fn is_away(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.into_iter().any(|kind| {
        matches!(
            kind,
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::TimedOut
        )
    })
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
    known_by: &(impl Fn(&Identity) + Sync),
    events: &mpsc::Sender<Event>,
) -> anyhow::Result<End> {
    let now = SystemTime::now();
    if identity.as_ref().is_none_or(|known| known.renew <= now) {
        let enrolled = operator.enrol(now).await.context("be enrolled")?;
        known_by(&enrolled);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_certificate_outlives_an_operator_that_is_away() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (ca, token) = (dir.path().join("ca.crt"), dir.path().join("token"));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        std::fs::write(&ca, certificate.pem()).unwrap();
        std::fs::write(&token, "t").unwrap();
        let operator = Operator { url: format!("https://{address}"), ca, token };
        // It hangs up: who knows why.
        let hangs_up = std::thread::spawn(move || drop(listener.accept()));
        let refused = operator.enrol(SystemTime::now()).await.err().unwrap();
        assert!(!is_away(&refused), "{refused:#}");
        hangs_up.join().unwrap();
        let away = operator.enrol(SystemTime::now()).await.err().unwrap();
        assert!(is_away(&away), "{away:#}");
    }
}
