//! An agent that only says that it serves: for trying the operator, with many agents and without nodes.
//!
//! Needs a token of an agent's pod:
//! `kubectl create token forebay-agent --audience forebay-operator --bound-object-kind Pod --bound-object-name POD`.
#![allow(clippy::print_stdout, reason = "what it hears is its output")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use clap::Parser;
use forebay_api::DatasetReport;
use forebay_api::operator::EnrolRequest;
use forebay_api::operator::agents_client::AgentsClient;
use forebay_api::operator::enrolment_client::EnrolmentClient;
use forebay_api::session::{
    AgentMessage, DatasetProgress, DatasetState, Health, Hello, OperatorMessage, Released, RuntimeState, TierHealth,
};
use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, Phase};
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

#[derive(Parser)]
struct Cli {
    /// Addresses of the operator's replicas, tried in turn.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:8443")]
    operator: Vec<String>,
    /// Name in the operator's certificate.
    #[arg(long, default_value = "forebay-operator")]
    name: String,
    /// File of the authority's certificate.
    #[arg(long)]
    ca: PathBuf,
    /// File of the token.
    #[arg(long)]
    token: PathBuf,
    /// Seconds that a Dataset takes to be fetched.
    #[arg(long, default_value_t = 5)]
    fetch: u64,
    /// Mounts of each Dataset.
    #[arg(long, default_value_t = 0)]
    mounts: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("TLS was set up twice"))?;
    let mut served = BTreeMap::new();
    for address in cli.operator.iter().cycle() {
        if let Err(error) = session(&cli, address, &mut served).await {
            println!("{address}: {error:#}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

type Served = BTreeMap<String, (DatasetState, SystemTime)>;

async fn session(cli: &Cli, address: &str, served: &mut Served) -> anyhow::Result<()> {
    let ca = std::fs::read_to_string(&cli.ca)?;
    let token = std::fs::read_to_string(&cli.token)?.trim().to_owned();
    let key = KeyPair::generate()?;
    let csr_pem = CertificateParams::default().serialize_request(&key)?.pem()?;
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ca)).domain_name(&cli.name);
    let said = |status: tonic::Status| anyhow!("{:?}: {}", status.code(), status.message());
    let mut client = EnrolmentClient::new(connect(address, tls.clone()).await?);
    let answer = client.enrol(EnrolRequest { token, csr_pem }).await.map_err(said)?.into_inner();
    let identity = Identity::from_pem(answer.certificate_pem, key.serialize_pem());
    let (say, words) = mpsc::channel(64);
    say.send(AgentMessage::Hello(Hello { version: "pretend".into(), pod_name: "pretend".into() }).into()).await?;
    let mut client = AgentsClient::new(connect(address, tls.identity(identity)).await?);
    let mut hear = client.session(ReceiverStream::new(words)).await.map_err(said)?.into_inner();
    println!("{address}: session");
    let mut runtime = None;
    let mut named = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            word = hear.message() => {
                let word = word.map_err(said)?.context("the operator ended the session")?;
                let mut released = Vec::new();
                match OperatorMessage::try_from(word)? {
                    OperatorMessage::Runtime(state) => runtime = Some(state),
                    OperatorMessage::Dataset(state) => {
                        println!("serve {} of generation {}, with {} secrets, refresh {:?}", state.dataset, state.generation, state.secrets.len(), state.refresh);
                        named.push(state.uid.clone());
                        let since = served.get(&state.uid).map_or_else(SystemTime::now, |known| known.1);
                        served.insert(state.uid.clone(), (state, since));
                    }
                    OperatorMessage::Removed(removed) => released.push(removed.uid),
                    // It has nothing that others could ask for.
                    OperatorMessage::Peers(_) => {}
                    OperatorMessage::Synced => released.extend(served.keys().filter(|uid| !named.contains(uid)).cloned()),
                }
                for uid in released {
                    let Some((state, _)) = served.remove(&uid) else { continue };
                    println!("let go of {}", state.dataset);
                    say.send(AgentMessage::Released(Released { uid, dataset: state.dataset }).into()).await?;
                }
            }
            _ = tick.tick() => {
                if let Some(runtime) = &runtime {
                    say.send(AgentMessage::Health(health(runtime)).into()).await?;
                }
                for (state, since) in served.values() {
                    say.send(AgentMessage::Dataset(progress(cli, state, *since)).into()).await?;
                }
            }
        }
    }
}

async fn connect(address: &str, tls: ClientTlsConfig) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    Ok(endpoint.connect_timeout(Duration::from_secs(5)).connect().await?)
}

fn health(runtime: &RuntimeState) -> Health {
    let tier = |tier: &forebay_crds::Tier| TierHealth {
        name: tier.name.as_str().to_owned(),
        capacity_bytes: tier.capacity.bytes(),
        used_bytes: 1 << 20,
        pinned_bytes: 0,
        fault: None,
    };
    Health { tiers: runtime.spec.tiers.iter().map(tier).collect(), age: None }
}

fn progress(cli: &Cli, state: &DatasetState, since: SystemTime) -> DatasetProgress {
    const BYTES: u64 = 100 << 20;
    let passed = since.elapsed().unwrap_or_default().as_secs();
    let done = BYTES * passed.min(cli.fetch) / cli.fetch.max(1);
    let ready = passed >= cli.fetch;
    let condition = |kind: &str, holds: bool, why: &str| Condition {
        last_transition_time: Time(Timestamp::now()),
        message: "as pretended".into(),
        observed_generation: None,
        reason: if holds { reason::AS_DESIRED.into() } else { why.into() },
        status: if holds { "True".into() } else { "False".into() },
        type_: kind.into(),
    };
    let mut status = DatasetStatus {
        observed_generation: Some(state.generation),
        phase: if ready { Phase::Ready } else { Phase::Prefetching },
        conditions: vec![
            condition(kind::READY, true, ""),
            condition(kind::PREFETCHED, ready, reason::PREFETCHING),
            condition(kind::STORES_REACHABLE, true, ""),
        ],
        ..DatasetStatus::default()
    };
    status.catalog.files = 100;
    status.catalog.bytes = BYTES;
    status.catalog.generation = 1;
    status.catalog.listed_at = Timestamp::from_second(1_700_000_000).ok().map(Time);
    status.cache.bytes = done;
    status.prefetch.done_bytes = done;
    status.prefetch.total_bytes = BYTES;
    status.prefetch.bytes_per_second = if ready { 0 } else { BYTES / cli.fetch.max(1) };
    let report = DatasetReport {
        namespace: state.dataset.namespace.clone(),
        name: state.dataset.name.clone(),
        at: "/pretended".into(),
        mounted: true,
        since,
        listing: None,
        status,
        not_native: None,
    };
    DatasetProgress {
        uid: state.uid.clone(),
        report,
        refreshed: state.refresh.clone(),
        evicted: state.evict.as_ref().map(|wish| wish.id.clone()),
        mounts: cli.mounts,
    }
}
