//! The end of an agent that is to go for good: the node gets back what the agent took.

use std::path::{Path, PathBuf};

use forebay_api::node::NodeClient;
use forebay_crds::CacheRuntimeSpec;
use forebay_crds::runtime::Medium;
use tracing::{info, warn};

use super::age;

/// Gives back every tier and empties the state directory, of which the directory itself is the node's. Nothing of either may be
/// in use: the process is to end right after. What cannot be given back is told, and stays.
pub(super) async fn give_back(spec: &CacheRuntimeSpec, state: &Path, csi: &NodeClient) {
    for tier in &spec.tiers {
        let name = tier.name.as_str();
        let given = match (tier.medium, &tier.path) {
            (Medium::Memory, _) => csi.drop_memory(name).await.map_err(anyhow::Error::from),
            (Medium::Disk, Some(path)) => blocking(path.as_path().to_owned(), erase).await,
            (Medium::Disk, None) => Ok(()),
        };
        match given {
            Ok(()) => info!(tier = name, "given back"),
            Err(error) => warn!(tier = name, "what it takes on this node stays: {error:#}"),
        }
    }
    if let Err(error) = blocking(state.to_owned(), empty).await {
        warn!(state = %state.display(), "the state stays: {error:#}");
    }
}

async fn blocking(path: PathBuf, work: fn(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
    Ok(tokio::task::spawn_blocking(move || work(&path)).await??)
}

/// Removes a tier's files, and its directory if nothing else is in it.
fn erase(tier: &Path) -> std::io::Result<()> {
    age::forget(tier)?;
    forebay_cache::erase(tier)
}

/// Removes what is in the directory, with what could not be removed before.
fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    #[test]
    fn of_a_tier_nothing_stays() {
        let root = tempfile::tempdir().unwrap();
        let tier = root.path().join("tier");
        erase(&tier).unwrap();
        std::fs::create_dir_all(tier.join("objects/ab")).unwrap();
        std::fs::write(tier.join("since"), "1\n").unwrap();
        erase(&tier).unwrap();
        assert!(!tier.exists());
    }

    #[test]
    fn a_state_directory_is_emptied_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("datasets/ml/a")).unwrap();
        std::fs::write(dir.path().join("datasets/ml/a/1.catalog"), "x").unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        empty(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
