#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

//! The two services through real TLS on loopback, with a twin of the API server.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::operator::agents_client::AgentsClient;
use forebay_api::operator::enrolment_client::EnrolmentClient;
use forebay_api::operator::{EnrolRequest, EnrolResponse, OperatorMessage as WireOperator};
use forebay_api::session::{AgentIdentity, AgentMessage, DatasetProgress, Health, Hello, OperatorMessage, Released};
use forebay_api::{DatasetName, DatasetReport};
use forebay_crds::manifest::{Redacted, SecretData};
use forebay_crds::{CacheRuntime, Dataset};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Streaming};

use super::authority::{Authority, agent_of};
use super::news::News;
use super::publish::Published;
use super::registry::Registry;
use super::serve::Serve;
use super::who::{Identify, NotKnown};
use super::*;
use crate::secrets::SecretState;

const NAME: &str = "forebay-operator.forebay-system.svc";
const WAIT: Duration = Duration::from_secs(60);
const WORD: &str = "hunter2-hunter2";

/// Knows tokens; fails when told to.
#[derive(Default)]
struct Twin {
    tokens: HashMap<&'static str, AgentIdentity>,
    away: Mutex<bool>,
}

#[async_trait]
impl Identify for Twin {
    async fn agent_of(&self, token: &str) -> Result<AgentIdentity, NotKnown> {
        if *self.away.lock().unwrap() {
            return Err(NotKnown::Later("the API server is away; try again".into()));
        }
        self.tokens.get(token).cloned().ok_or_else(|| NotKnown::Refused("the token is not valid".into()))
    }
}

struct Operator {
    address: SocketAddr,
    authority: Arc<Authority>,
    twin: Arc<Twin>,
    leads: watch::Sender<Option<Leadership>>,
    leadership: Leadership,
    token: CancellationToken,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

fn agent(runtime: &str, node: &str) -> AgentIdentity {
    AgentIdentity { runtime: runtime.parse().unwrap(), node: node.parse().unwrap() }
}

async fn operator() -> Operator {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Arc::new(Authority::generate().unwrap());
    let tokens = HashMap::from([("token-1", agent("r", "n1")), ("token-2", agent("other", "n1"))]);
    let twin = Arc::new(Twin { tokens, ..Twin::default() });
    let token = CancellationToken::new();
    let leadership = Leadership {
        registry: Arc::new(Registry::default()),
        published: Arc::new(Published::default()),
        news: Arc::new(News::default()),
        token: token.child_token(),
    };
    let (leads, receiver) = watch::channel(Some(leadership.clone()));
    let serve = Serve {
        address: "127.0.0.1:0".parse().unwrap(),
        names: vec![NAME.into()],
        authority: authority.clone(),
        identify: twin.clone(),
        leads: Leads::new(receiver),
    };
    let bound = serve.bind().await.unwrap();
    let address = bound.address().unwrap();
    tokio::spawn(bound.run(token.clone()));
    Operator { address, authority, twin, leads, leadership, token }
}

impl Operator {
    async fn channel(&self, identity: Option<Identity>) -> Channel {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.certificate_pem())).domain_name(NAME);
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn enrol(&self, token: &str) -> Result<(EnrolResponse, KeyPair), Status> {
        let key = KeyPair::generate().unwrap();
        // What the request asks for beyond its key is not given.
        let csr_pem =
            CertificateParams::new(vec!["forebay-operator".into()]).unwrap().serialize_request(&key).unwrap().pem().unwrap();
        let mut client = EnrolmentClient::new(self.channel(None).await);
        let answer = client.enrol(EnrolRequest { token: token.into(), csr_pem }).await?.into_inner();
        Ok((answer, key))
    }

    async fn connect(&self, token: &str) -> Session {
        let (answer, key) = self.enrol(token).await.unwrap();
        let identity = Identity::from_pem(answer.certificate_pem, key.serialize_pem());
        self.session(Some(identity)).await.unwrap()
    }

    async fn session(&self, identity: Option<Identity>) -> Result<Session, Status> {
        let (say, words) = mpsc::channel(64);
        let hello = Hello { version: "0.1.0".into(), pod_name: "pod".into() };
        say.send(AgentMessage::Hello(hello).into()).await.unwrap();
        let mut client = AgentsClient::new(self.channel(identity).await);
        let hear = client.session(ReceiverStream::new(words)).await?.into_inner();
        Ok(Session { say, hear })
    }

    fn publish(&self, datasets: &[Arc<Dataset>], password: &str) {
        let runtime: CacheRuntime = serde_json::from_value(json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": "r", "generation": 1},
            "spec": {"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}]}
        }))
        .unwrap();
        let mut other = runtime.clone();
        other.metadata.name = Some("other".into());
        let data = SecretData::new("ml", "obs", BTreeMap::from([("password".into(), Redacted::new(password))]));
        self.leadership
            .published
            .publish(datasets, &[Arc::new(runtime), Arc::new(other)], |_, _| SecretState::Found(Arc::new(data.clone())));
    }
}

struct Session {
    say: mpsc::Sender<forebay_api::operator::AgentMessage>,
    hear: Streaming<WireOperator>,
}

impl Session {
    async fn next(&mut self) -> Result<OperatorMessage, Status> {
        let word = timeout(WAIT, self.hear.message()).await.expect("a word in time")?;
        Ok(OperatorMessage::try_from(word.ok_or_else(|| Status::cancelled("over"))?).unwrap())
    }

    async fn until_synced(&mut self) -> Vec<OperatorMessage> {
        let mut words = Vec::new();
        loop {
            match self.next().await.unwrap() {
                OperatorMessage::Synced => return words,
                word => words.push(word),
            }
        }
    }

    async fn says(&self, word: AgentMessage) {
        self.say.send(word.into()).await.unwrap();
    }
}

fn dataset(name: &str, runtime: &str) -> Arc<Dataset> {
    let dataset = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
        "metadata": {"name": name, "namespace": "ml", "uid": format!("uid-{name}"), "generation": 1},
        "spec": {"runtime": runtime, "mounts": [{"path": "/", "source": "s3://bucket", "secretRef": {"name": "obs"}}]}
    });
    Arc::new(serde_json::from_value(dataset).unwrap())
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !check() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_token_is_exchanged_for_a_certificate_of_its_agent_and_no_other() {
    let operator = operator().await;
    let (answer, _) = operator.enrol("token-1").await.unwrap();
    let der = pem_to_der(&answer.certificate_pem);
    let (identity, until) = agent_of(&der.as_slice().into()).unwrap();
    assert_eq!(identity, agent("r", "n1"));
    assert_eq!(Some(until.into()), answer.not_after);
    assert_eq!(answer.ca_pem, operator.authority.certificate_pem());
    let text = String::from_utf8_lossy(&der).into_owned();
    assert!(!text.contains("forebay-operator.forebay"), "names of the request are not given");
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn whoever_is_not_an_agent_is_refused_and_told_apart_from_who_may_try_again() {
    let operator = operator().await;
    let code = |result: Result<(EnrolResponse, KeyPair), Status>| result.err().map(|status| status.code());
    assert_eq!(code(operator.enrol("stolen").await), Some(Code::Unauthenticated));
    assert_eq!(code(operator.enrol("").await), Some(Code::Unauthenticated));
    *operator.twin.away.lock().unwrap() = true;
    assert_eq!(code(operator.enrol("token-1").await), Some(Code::Unavailable));
    *operator.twin.away.lock().unwrap() = false;
    let mut client = EnrolmentClient::new(operator.channel(None).await);
    let garbage = EnrolRequest { token: "token-1".into(), csr_pem: "nothing".into() };
    assert_eq!(client.enrol(garbage).await.unwrap_err().code(), Code::InvalidArgument);
    operator.leads.send_replace(None);
    assert_eq!(code(operator.enrol("token-1").await), None, "the standby enrols, too");
}

#[tokio::test]
async fn a_session_needs_a_certificate_of_this_authority() {
    let operator = operator().await;
    assert_eq!(operator.session(None).await.err().unwrap().code(), Code::Unauthenticated);
    // The same names, signed by somebody else.
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let forged = Authority::generate().unwrap().agent(&csr, &agent("r", "n1")).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(operator.authority.certificate_pem()))
        .domain_name(NAME)
        .identity(Identity::from_pem(forged.pem, key.serialize_pem()));
    let endpoint = Endpoint::from_shared(format!("https://{}", operator.address)).unwrap().tls_config(tls).unwrap();
    let refused = match endpoint.connect().await {
        Err(_) => true,
        Ok(channel) => {
            let mut client = AgentsClient::new(channel);
            client.session(tokio_stream::iter([])).await.is_err()
        }
    };
    assert!(refused);
}

#[tokio::test]
async fn an_agent_hears_all_of_its_runtime_then_each_change_and_a_rotated_secret() {
    let operator = operator().await;
    operator.publish(&[dataset("a", "r"), dataset("b", "other")], "one");
    let mut session = operator.connect("token-1").await;
    let words = session.until_synced().await;
    assert!(matches!(&words[0], OperatorMessage::Runtime(runtime) if runtime.name == "r"), "{words:?}");
    let OperatorMessage::Dataset(state) = &words[1] else { panic!("{words:?}") };
    assert_eq!((words.len(), state.uid.as_str()), (2, "uid-a"), "nothing of the other runtime");
    assert_eq!(state.secrets[0].get("password").unwrap().expose(), b"one");

    operator.publish(&[dataset("a", "r"), dataset("b", "other")], WORD);
    let OperatorMessage::Dataset(state) = session.next().await.unwrap() else { panic!("a Dataset") };
    assert_eq!(state.secrets[0].get("password").unwrap().expose(), WORD.as_bytes());
    let prints = format!("{state:?} {:?} {:?}", operator.leadership.published, operator.leadership.registry);
    assert!(!prints.contains(WORD), "{prints}");

    operator.publish(&[dataset("b", "other")], WORD);
    assert!(matches!(session.next().await.unwrap(), OperatorMessage::Removed(removed) if removed.uid == "uid-a"));
}

#[tokio::test]
async fn what_an_agent_says_is_known_under_its_certificates_name() {
    let operator = operator().await;
    operator.publish(&[dataset("a", "r")], "one");
    let mut session = operator.connect("token-1").await;
    session.until_synced().await;
    session.says(AgentMessage::Health(Health::default())).await;
    let report = DatasetReport {
        namespace: "ml".into(),
        name: "a".into(),
        at: "/mnt".into(),
        mounted: true,
        since: std::time::UNIX_EPOCH,
        listing: None,
        status: Default::default(),
        not_native: None,
    };
    session
        .says(AgentMessage::Dataset(DatasetProgress { uid: "uid-a".into(), report, refreshed: None, evicted: None, mounts: 3 }))
        .await;
    let registry = &operator.leadership.registry;
    eventually("the report is known", || registry.reports("r", "uid-a", Instant::now()).contains_key("n1")).await;
    assert!(registry.reports("other", "uid-a", Instant::now()).is_empty());
    assert_eq!(registry.live("r", Instant::now())[0].mounts, 3);
    let news = operator.leadership.news.take(9);
    assert!(news.contains(&crate::stores::Change::Progress { namespace: "ml".into(), name: "a".into() }), "{news:?}");
    session.says(AgentMessage::Released(Released { uid: "uid-a".into(), dataset: DatasetName::new("ml", "a") })).await;
    eventually("it let go", || registry.holding("uid-a", Instant::now()).is_empty()).await;
    drop(session);
    eventually("it is gone", || registry.connected() == 0).await;
}

#[tokio::test]
async fn a_newer_session_of_the_same_agent_ends_the_older_one() {
    let operator = operator().await;
    operator.publish(&[], "one");
    let mut first = operator.connect("token-1").await;
    first.until_synced().await;
    let mut second = operator.connect("token-1").await;
    second.until_synced().await;
    first.says(AgentMessage::Health(Health::default())).await;
    assert_eq!(first.next().await.unwrap_err().code(), Code::Aborted);
    second.says(AgentMessage::Health(Health::default())).await;
    operator.publish(&[dataset("a", "r")], "one");
    assert!(matches!(second.next().await.unwrap(), OperatorMessage::Dataset(_)));
}

#[tokio::test]
async fn a_replica_that_stops_leading_ends_every_session_at_once() {
    let operator = operator().await;
    operator.publish(&[], "one");
    let mut session = operator.connect("token-1").await;
    session.until_synced().await;
    operator.leadership.token.cancel();
    let status = session.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("does not lead"), "{status}");
    let (answer, key) = operator.enrol("token-1").await.unwrap();
    let identity = Identity::from_pem(answer.certificate_pem, key.serialize_pem());
    assert_eq!(operator.session(Some(identity)).await.err().unwrap().code(), Code::Unavailable, "and no new one begins");
}

#[tokio::test]
async fn a_session_begins_with_hello() {
    let operator = operator().await;
    let (answer, key) = operator.enrol("token-1").await.unwrap();
    let identity = Identity::from_pem(answer.certificate_pem, key.serialize_pem());
    let mut client = AgentsClient::new(operator.channel(Some(identity)).await);
    let words = tokio_stream::iter([AgentMessage::Health(Health::default()).into()]);
    let mut hear = client.session(words).await.unwrap().into_inner();
    assert_eq!(hear.message().await.unwrap_err().code(), Code::InvalidArgument);
}

mod tokens {
    use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
    use k8s_openapi::api::core::v1::{Pod, PodSpec};

    use crate::agents::who::{NotKnown, agent, pod_of};

    fn review() -> TokenReviewStatus {
        let extra = [("pod-name", "p"), ("pod-uid", "u"), ("node-name", "n1")]
            .map(|(key, value)| (format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]));
        let username = Some("system:serviceaccount:forebay-system:forebay-agent".to_owned());
        TokenReviewStatus {
            audiences: Some(vec!["forebay-operator".into()]),
            authenticated: Some(true),
            error: None,
            user: Some(UserInfo { extra: Some(extra.into()), username, ..UserInfo::default() }),
        }
    }

    fn pod() -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".into());
        pod.metadata.labels = Some([("forebay.io/runtime".to_owned(), "r".to_owned())].into());
        pod.spec = Some(PodSpec { node_name: Some("n1".into()), ..PodSpec::default() });
        pod
    }

    #[test]
    fn only_an_agents_bound_token_for_this_audience_counts() {
        let owner = pod_of(review(), "forebay-system", "forebay-agent").unwrap();
        assert_eq!(agent(&owner, &pod()).unwrap().to_string(), "spiffe://forebay.io/runtime/r/node/n1");
        type Damage = fn(&mut TokenReviewStatus);
        let cases: [(&str, Damage); 6] = [
            ("not valid", |r| r.authenticated = Some(false)),
            ("audience", |r| r.audiences = None),
            ("audience", |r| r.audiences = Some(vec!["https://kubernetes.default.svc".into()])),
            ("agents are", |r| r.user.as_mut().unwrap().username = Some("system:serviceaccount:ml:forebay-agent".into())),
            ("bound to no pod", |r| r.user.as_mut().unwrap().extra = None),
            ("agents are", |r| r.user = None),
        ];
        for (word, damage) in cases {
            let mut review = review();
            damage(&mut review);
            let Err(NotKnown::Refused(why)) = pod_of(review, "forebay-system", "forebay-agent") else { panic!("{word}") };
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn the_pod_must_be_the_one_that_the_token_was_made_for() {
        let owner = pod_of(review(), "forebay-system", "forebay-agent").unwrap();
        type Damage = fn(&mut Pod);
        let cases: [(&str, Damage); 4] = [
            ("anew", |pod| pod.metadata.uid = Some("v".into())),
            ("label", |pod| pod.metadata.labels = None),
            ("no node", |pod| pod.spec = None),
            ("another node", |pod| pod.spec.as_mut().unwrap().node_name = Some("n2".into())),
        ];
        for (word, damage) in cases {
            let mut pod = pod();
            damage(&mut pod);
            let Err(NotKnown::Refused(why)) = agent(&owner, &pod) else { panic!("{word}") };
            assert!(why.contains(word), "{why}");
        }
    }
}
