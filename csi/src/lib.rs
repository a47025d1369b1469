//! The CSI driver `csi.forebay.io`.
//!
//! On each node it mounts every Dataset in use once ([`node`]), keeps the descriptor of that mount (`keeper`), lets an agent serve
//! a duplicate, and binds the mount, read-only, into the pods that may have it. It makes no decision about data and knows no
//! Kubernetes API: what it must know of a pod kubelet tells it, what of a Dataset the agent.
//!
//! The controller half ([`cli::Command::Controller`]) gives names to volumes for csi-provisioner.

mod asker;
mod capability;
pub mod cli;
mod context;
mod controller;
mod identity;
mod keeper;
mod locks;
mod mounter;
mod node;
mod probe;
pub mod proto;
mod records;
mod registration;
mod serve;

use std::sync::Arc;

use anyhow::Context as _;
use forebay_api::node::{NodeListener, SOCKET};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use identity::DRIVER;

use crate::cli::{Cli, Command, ControllerArgs, NodeArgs};
use crate::controller::ControllerService;
use crate::identity::IdentityService;
use crate::keeper::{Keeper, Places};
use crate::node::NodeService;
use crate::proto::csi::controller_server::ControllerServer;
use crate::proto::csi::identity_server::IdentityServer;
use crate::proto::csi::node_server::NodeServer;
use crate::proto::registration::registration_server::RegistrationServer;
use crate::registration::RegistrationService;

/// Runs the driver until it is told to end by SIGTERM or SIGINT. Mounts stay.
///
/// # Errors
/// What keeps it from serving.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let end = serve::until_told()?;
    match cli.command {
        Command::Node(args) => node(args, end).await,
        Command::Controller(args) => controller(args, end).await,
        Command::Probe(args) => probe::ready(&args.endpoint.0).await,
    }
}

async fn controller(args: ControllerArgs, end: CancellationToken) -> anyhow::Result<()> {
    let services = Server::builder()
        .add_service(IdentityServer::new(IdentityService))
        .add_service(ControllerServer::new(ControllerService::default()));
    serve::on_socket(&args.endpoint.0, services, end).await
}

async fn node(args: NodeArgs, end: CancellationToken) -> anyhow::Result<()> {
    let own = args.kubelet_dir.join("plugins").join(DRIVER);
    let places = Places {
        datasets: own.join("datasets"),
        composed: own.join("composed"),
        records: own.join("records"),
        run: args.run.clone(),
    };
    let keeper = Keeper::new(places, args.read_ahead_kib);
    let keeper = Arc::new(keeper.with_context(|| format!("take up what lies in {}", own.display()))?);
    std::fs::create_dir_all(&args.run).with_context(|| format!("make {}", args.run.display()))?;
    let link = args.run.join(SOCKET);
    let listener = NodeListener::bind(&link).with_context(|| format!("listen for agents at {}", link.display()))?;
    let work = [tokio::spawn(Arc::clone(&keeper).accept(listener)), tokio::spawn(Arc::clone(&keeper).supervise())];

    let service = NodeService { keeper: Arc::clone(&keeper), node_name: args.node_name, unknown_pods: args.without_pod_info };
    let services = Server::builder().add_service(IdentityServer::new(IdentityService)).add_service(NodeServer::new(service));
    let endpoint = args.kubelet_endpoint.unwrap_or_else(|| own.join("csi.sock"));
    let registration = Server::builder().add_service(RegistrationServer::new(RegistrationService { endpoint }));
    let at = registration::socket(&args.registration_dir);
    let ending = CancellationToken::new();
    let leave = tokio::spawn({
        let (keeper, ending) = (Arc::clone(&keeper), ending.clone());
        async move {
            end.cancelled().await;
            keeper.end().await;
            ending.cancel();
        }
    });
    // Both or neither: kubelet shall not be told of a driver that does not answer.
    let served = tokio::try_join!(
        serve::on_socket(&args.endpoint.0, services, ending.clone()),
        serve::on_registration_socket(&at, registration, ending),
    );
    leave.abort();
    work.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = std::fs::remove_file(&link);
    keeper.tidy();
    served.map(|_| ())
}
