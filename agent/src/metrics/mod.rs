//! What the agent tells monitoring: Prometheus metrics, whether it lives, whether it is ready.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bounded::Bounded;
use crate::view::View;

mod cache;
mod datasets;
mod http;
mod names;
mod page;
mod process;
mod ready;
#[cfg(test)]
mod tests;

/// Where metrics are served unless told otherwise: for this node only.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:9464";

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// A connection is cut after so long, so that clients that never finish a request cannot keep others out.
const LONGEST: Duration = Duration::from_secs(60);
/// How long answers may take to end after the stop.
const FAREWELL: Duration = Duration::from_secs(3);

/// Serves `/metrics`, `/healthz` and `/readyz` on `address` until `stop`. Returns the address in use, which differs
/// from the one asked for when that had port 0.
pub(crate) async fn serve(
    address: SocketAddr,
    view: Arc<dyn View>,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("serve metrics on {address}: give --metrics-addr another address (port 0 takes any free port)")
    })?;
    let bound = listener.local_addr()?;
    let router = http::router(view.clone(), registry(view));
    let listener = Bounded::new(listener, CONNECTIONS, Some(LONGEST));
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let task = tokio::spawn(async move {
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::error!(%error, %bound, "metrics are not served any more");
            },
            () = patience => tracing::debug!("a client of the metrics did not take its last answer"),
        }
    });
    Ok((bound, task))
}

fn registry(view: Arc<dyn View>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(view)));
    registry
}

/// Asks the view and the kernel at each scrape; nothing is counted twice.
struct Scrape(Arc<dyn View>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = &*self.0;
        let usage = view.usage();
        let mut page = page::Page(encoder);
        page.write(&names::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], true)])?;
        datasets::write(&mut page, &view.datasets(), &usage.datasets)?;
        datasets::opens(&mut page, &view.opens())?;
        cache::tiers(&mut page, &usage.tiers, &view.health())?;
        cache::cache(&mut page, &usage.tiers, &view.cache_stats())?;
        cache::fetch(&mut page, &view.fetch_stats())?;
        process::Process::read().write(&mut page)
    }
}
