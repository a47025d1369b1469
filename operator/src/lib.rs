//! The operator of Forebay: the only part that talks to the Kubernetes API.
//!
//! - [`cli`]: its flags; [`run`]: all of it, until a token is cancelled.
//! - `stores`: caches of the cluster, which both replicas keep warm; `lease`: which of them leads; `lead`: what it does then.
//! - `dataset/`, `runtime/`: the controllers, five steps each. `agents/`: the agents' control service.
//! - `scale`: how many nodes an autoscaler wants.
//! - `warm/`: nodes take no pods before they are warm. `admission/`: pods are told where their data is.
//! - `demand`: Datasets are fetched ahead when a pod comes that mounts them. `volumes/`: which Datasets a pod mounts.
//! - `secrets`: what Datasets name, in memory only.

pub mod agents;
pub mod cli;

mod admission;
mod ca;
mod context;
mod controller;
mod dataset;
mod demand;
mod ends;
mod events;
mod hash;
mod http;
mod lead;
mod lease;
mod metrics;
mod names;
mod pace;
mod quantity;
mod runtime;
mod scale;
mod secrets;
mod ssa;
mod stores;
mod verdict;
mod volumes;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::{Elsewhere, Reviewer};
use crate::agents::Leads;
use crate::agents::serve::Serve;
use crate::agents::who::ByTokenReview;
use crate::cli::Cli;
use crate::lead::Leader;
use crate::lease::Election;
use crate::stores::Stores;
use crate::volumes::Resolver;

/// Runs the operator until `token` is cancelled; then its work has stopped and its Lease is given back.
pub async fn run(cli: Cli, token: CancellationToken) -> anyhow::Result<()> {
    let config = Config::infer().await.context("find the API server: run in a pod, or set KUBECONFIG")?;
    let client = Client::try_from(config.clone()).context("set up the connection to the API server")?;
    let metrics = Arc::new(metrics::Metrics::new());
    let ready = http::Ready::default();
    let listener =
        TcpListener::bind(cli.http_addr).await.with_context(|| format!("listen on {}; see --http-addr", cli.http_addr))?;
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (http_metrics, http_ready, http_token) = (metrics.clone(), ready.clone(), token.clone());
    tasks.spawn(async move { http::run(listener, http_metrics, http_ready, http_token).await.context("serve HTTP") });

    let mut watches = JoinSet::new();
    let stores = Stores::start(&client, &cli.namespace, &mut watches);
    let Some(authority) = authority(&client, &cli, &token).await else { return Ok(()) };
    let authority = Arc::new(authority);

    let (leads, leadership) = watch::channel(None);
    let identify = ByTokenReview {
        client: client.clone(),
        namespace: cli.namespace.clone(),
        service_account: cli.agent_service_account.clone(),
        pods: stores.pods.clone(),
    };
    let serve = Serve {
        address: cli.grpc_addr,
        names: names_of(&cli),
        authority: authority.clone(),
        identify: Arc::new(identify),
        leads: Leads::new(leadership.clone()),
    };
    let bound = serve.bind().await?;
    if cli.webhook.is_some() {
        let listener = TcpListener::bind(cli.webhook_addr).await;
        let listener = listener.with_context(|| format!("listen on {}; see --webhook-addr", cli.webhook_addr))?;
        let reviewer = Reviewer {
            resolver: Resolver::new(client.clone(), stores.clone()),
            stores: stores.clone(),
            leads: Leads::new(leadership),
            elsewhere: elsewhere(&client, &cli, &authority)?,
        };
        let served = admission::serve::run(listener, authority.clone(), names_of(&cli), reviewer, token.clone());
        tasks.spawn(async move { Ok(served.await?) });
    }
    let grpc_token = token.clone();
    tasks.spawn(async move { Ok(bound.run(grpc_token).await?) });

    let filled = stores.clone();
    tasks.spawn(async move {
        if filled.filled().await {
            ready.set();
        }
        std::future::pending().await
    });

    let (elected, election) = watch::channel(false);
    let stopped = CancellationToken::new();
    let lease = Election {
        name: cli.lease.clone(),
        identity: cli.identity.clone(),
        duration: Duration::from_secs(cli.lease_duration.into()),
    };
    let (namespace, until, gone) = (cli.namespace.clone(), token.clone(), stopped.clone());
    let lease = lease::on_a_thread(config, move |client| lease::run(client, namespace, lease, elected, until, gone));
    let lease = lease.context("start the thread of the lease")?;
    let leader = Leader {
        client,
        identity: cli.identity.clone(),
        settings: settings(&cli),
        stores,
        metrics,
        authority,
        webhook: cli.webhook.clone(),
        secret_refresh: Duration::from_secs(cli.secret_refresh.into()),
    };
    let leading = lead::run(leader, election, leads, token.clone());
    let result = tokio::select! {
        () = leading => Ok(()),
        // A part that the operator cannot do without: Kubernetes starts it again.
        Some(ended) = tasks.join_next() => ended.context("a part of the operator panicked").and_then(|ended| ended),
    };
    token.cancel();
    stopped.cancel();
    let _ = lease.await;
    result
}

/// The authority, tried until it is there. `None`: cancelled.
async fn authority(client: &Client, cli: &Cli, token: &CancellationToken) -> Option<agents::authority::Authority> {
    loop {
        match ca::load_or_make(client, &cli.namespace, &cli.ca).await {
            Ok(authority) => return Some(authority),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "there is no certificate authority yet, it is tried again")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = token.cancelled() => return None,
        }
    }
}

/// The way to the replica that leads, for one that does not.
fn elsewhere(client: &Client, cli: &Cli, authority: &agents::authority::Authority) -> anyhow::Result<Elsewhere> {
    Ok(Elsewhere {
        client: client.clone(),
        namespace: cli.namespace.clone(),
        lease: cli.lease.clone(),
        port: cli.webhook_addr.port(),
        authority: authority.certificate()?,
        name: cli.service.clone(),
        known: tokio::sync::Mutex::default(),
    })
}

/// The names under which agents may know the operator.
fn names_of(cli: &Cli) -> Vec<String> {
    let Cli { service, namespace, .. } = cli;
    vec![format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local"), service.clone()]
}

fn settings(cli: &Cli) -> runtime::Settings {
    runtime::Settings {
        namespace: cli.namespace.clone(),
        image: cli.agent_image.clone(),
        pull_policy: cli.agent_image_pull_policy.clone(),
        pull_secrets: cli.agent_image_pull_secret.clone(),
        service_account: cli.agent_service_account.clone(),
        priority_class: cli.agent_priority_class.clone(),
        cpu: cli.agent_cpu.clone(),
        memory: cli.agent_memory.bytes(),
        log: cli.agent_log.clone(),
        passthrough: cli.agent_passthrough,
        composed: cli.agent_composed,
        operator: format!("https://{}.{}.svc:{}", cli.service, cli.namespace, cli.service_port),
        ca: cli.ca.clone(),
        // Known once the certificate is published.
        ca_uid: String::new(),
    }
}
