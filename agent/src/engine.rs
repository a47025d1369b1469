//! What moves bytes on a node, alone or in a cluster: bounds of the fetcher, the reading of the tiers at a start, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use forebay_cache::Cache;
use forebay_fetch::FetchConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Two thirds of the memory are the readers', a third is prefetch's. What is read ahead has to stay in the cache until
/// its reader comes, so a small tier shortens it.
pub(crate) fn fetch_config(memory_mib: u32, smallest_tier: u64) -> FetchConfig {
    let memory = usize::try_from(memory_mib).unwrap_or(48) << 20;
    let usual = FetchConfig::default();
    let ahead = u32::try_from(smallest_tier / 16 / forebay_cache::BLOCK).unwrap_or(u32::MAX);
    FetchConfig { reader_memory: memory / 3 * 2, background_memory: memory / 3, max_ahead: usual.max_ahead.min(ahead), ..usual }
}

/// Reads through the tiers in the background; what was cached is served meanwhile.
pub(crate) fn recover(cache: Cache, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let ended = Arc::new(AtomicBool::new(false));
        let scan = tokio::task::spawn_blocking({
            let ended = ended.clone();
            move || {
                let report = cache.recover(&ended);
                // Datasets that left the manifest: only now is all that the tiers hold of them known.
                let freed = cache.remove_undeclared();
                if freed > 0 {
                    info!(bytes = freed, "freed what Datasets had that are not in the manifest any more");
                }
                report
            }
        });
        let watch = async {
            stop.cancelled().await;
            ended.store(true, Ordering::Release);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            scanned = scan => match scanned {
                Ok(Ok(report)) => info!(?report, "the tiers were read through"),
                Ok(Err(error)) => warn!(%error, "the tiers were not read through"),
                Err(error) => error!(%error, "reading through the tiers died"),
            },
            () = watch => {}
        }
    })
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
