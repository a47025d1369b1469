use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use forebay_api::node::{CallError, NodeClient, memory_dir};
use forebay_cache::{Medium, TierConfig};
use forebay_crds::CacheRuntimeSpec;
use forebay_crds::runtime::{Medium as Wanted, Tier};

use crate::{cli, tiers};

/// The pause before csi is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a mount may take to be seen in this agent's mount namespace.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Prepares each tier, fastest first. A memory tier's tmpfs is csi's, so that what it holds outlives this agent; csi is
/// waited for.
pub(crate) async fn prepare(
    spec: &CacheRuntimeSpec,
    options: &cli::Cluster,
    csi: &NodeClient,
) -> anyhow::Result<Vec<TierConfig>> {
    let mut prepared = Vec::new();
    for tier in &spec.tiers {
        let one = one(tier, options, csi).await;
        prepared.push(one.with_context(|| format!("tier {} of CacheRuntime {}", tier.name.as_str(), options.runtime))?);
    }
    Ok(prepared)
}

async fn one(tier: &Tier, options: &cli::Cluster, csi: &NodeClient) -> anyhow::Result<TierConfig> {
    let name = tier.name.as_str();
    match (tier.medium, &tier.path) {
        (Wanted::Disk, None) => bail!("a tier of medium Disk needs a path"),
        (Wanted::Disk, Some(path)) => {
            std::fs::create_dir_all(path.as_path()).with_context(|| format!("make {}", path.as_str()))?;
            ensure!(
                !tiers::is_tmpfs(path.as_path()),
                "{} is a file system in memory, and what it holds counts against this agent's memory limit: name a directory of a disk, or \
                 choose medium: Memory",
                path.as_str()
            );
            tiers::disk(tier, path.as_path().to_owned())
        }
        (Wanted::Memory, _) => {
            let capacity = tier.capacity.bytes();
            loop {
                csi.connected().await;
                match csi.prepare_memory(name, capacity).await {
                    Ok(()) => break,
                    Err(CallError::Refused(refusal)) => bail!("csi cannot mount its tmpfs: {refusal}"),
                    Err(error) => tracing::warn!(tier = name, %error, "csi is asked for the memory tier again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
            let dir = memory_dir(&options.run, &options.runtime, name);
            let seen = async {
                while !tiers::is_tmpfs(&dir) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(SEEN_WITHIN, seen).await.with_context(|| {
                format!(
                    "csi has mounted a tmpfs at {}, and it is not seen here: this agent's run directory needs mount propagation \
                     HostToContainer, and csi's Bidirectional",
                    dir.display()
                )
            })?;
            Ok(TierConfig { name: name.to_owned(), medium: Medium::Memory, dir, capacity, reserve: 0 })
        }
    }
}
