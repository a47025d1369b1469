//! The agent at work, standalone: from a manifest file to mounted Datasets.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use forebay_cache::{Cache, CacheConfig, Stats, TierConfig, TierHealth, Usage};
use forebay_crds::dataset::Dataset as DatasetObject;
use forebay_crds::manifest::{self, Manifests};
use forebay_dataset::{Dataset, DatasetParts};
use forebay_fetch::{Fetcher, StatsSnapshot};
use forebay_fuse::{MountOptions, cleanup_dead_below};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli;
use crate::composed::Place;
use crate::progress::{self, Console};
use crate::served::Served;
use crate::state::StateDir;
use crate::view::{DatasetView, Opens, View};
use crate::{composed, control, engine, metrics, stores, tiers, way, wishes};

/// What the agent is made of.
struct Node {
    tiers: Vec<TierConfig>,
    served: Vec<Arc<Served>>,
    cache: Cache,
    fetcher: Fetcher,
}

/// Runs until SIGTERM or SIGINT, then unmounts and returns.
pub(crate) async fn run(options: cli::Mount, console: Console) -> anyhow::Result<()> {
    let origin = options.manifest.display().to_string();
    let bytes = std::fs::read(&options.manifest).with_context(|| format!("read the manifest {origin}"))?;
    let manifests = manifest::parse_bytes(&bytes, &origin)?;
    ensure!(!manifests.datasets.is_empty(), "{origin} has no Dataset; add one to mount");
    let state = StateDir::take(&options.state)?;
    for dead in [cleanup_dead_below(&options.at)?, cleanup_dead_below(state.path())?].into_iter().flatten() {
        info!(at = %dead.display(), "removed the mount of an agent that was killed");
    }
    let node = Arc::new(Node::assemble(&options, &manifests, &state)?);

    let places: Vec<_> = node.served.iter().map(|served| served.at().clone()).collect();
    composed::remove_left_below(&options.at, &places)?;

    let stop = CancellationToken::new();
    let view: Arc<dyn View> = node.clone();
    let control = control::serve(forebay_api::socket::path(state.path()), view.clone(), stop.clone()).await?;
    let (address, metrics) = metrics::serve(options.metrics_addr, view.clone(), stop.clone()).await?;
    info!(%address, "serving metrics and health");
    let progress = tokio::spawn(progress::run(view, console, stop.clone()));
    let recovery = engine::recover(node.cache.clone(), stop.clone());
    let lives: Vec<_> = node.served.iter().map(|served| tokio::spawn(served.clone().run(stop.clone()))).collect();

    engine::wait_for_signal().await?;
    info!("ending");
    stop.cancel();
    for life in lives {
        life.await?;
    }
    let (_, _, _, _) = tokio::join!(control, metrics, progress, recovery);
    tokio::task::spawn_blocking(move || {
        node.cache.clone().close();
        if !options.keep_memory {
            tiers::release_memory(&node.tiers);
        }
    })
    .await?;
    Ok(())
}

impl Node {
    fn assemble(options: &cli::Mount, manifests: &Manifests, state: &StateDir) -> anyhow::Result<Self> {
        let [runtime, others @ ..] = &manifests.runtimes[..] else {
            bail!("the manifest has no CacheRuntime; add one with the tiers to cache in");
        };
        ensure!(others.is_empty(), "the manifest has {} CacheRuntimes; one agent serves one", others.len() + 1);
        let tiers = tiers::prepare(runtime, state)?;
        let smallest = tiers.iter().map(|tier| tier.capacity).min().unwrap_or(0);
        let cache = Cache::open(CacheConfig::new(tiers.clone(), state.index())).context("open the cache")?;
        let served: Vec<String> = manifests.datasets.iter().map(wishes::full_name).collect();
        state.forget_datasets(&served).context("remove the catalogs of Datasets that left the manifest")?;
        let fetcher = Fetcher::new(engine::fetch_config(options.memory, smallest), Handle::current());
        let mut served = Vec::new();
        for object in &manifests.datasets {
            let one = serve(object, manifests, state, options, &cache, &fetcher);
            let named = || format!("Dataset {}", wishes::full_name(object));
            served.push(Arc::new(one.with_context(named)?));
        }
        for (index, one) in served.iter().enumerate() {
            let at = one.at();
            ensure!(
                served[..index].iter().all(|other| other.at() != at),
                "two Datasets would be mounted at {}: give one of them another name, or its own manifest and --at",
                at.display()
            );
        }
        Ok(Self { tiers, served, cache, fetcher })
    }
}

impl View for Node {
    fn datasets(&self) -> Vec<DatasetView> {
        let mut all: Vec<_> = self.served.iter().map(|served| served.view()).collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        all
    }
    fn usage(&self) -> Usage {
        self.cache.usage()
    }
    fn cache_stats(&self) -> Stats {
        self.cache.stats()
    }
    fn health(&self) -> Vec<TierHealth> {
        self.cache.health()
    }
    fn fetch_stats(&self) -> StatsSnapshot {
        self.fetcher.stats()
    }
    fn opens(&self) -> Vec<Opens> {
        self.served.iter().map(|served| served.opens()).collect()
    }
    fn refresh(&self, name: &str) -> bool {
        let found = self.served.iter().find(|served| served.name() == name);
        found.inspect(|served| served.refresh()).is_some()
    }
}

fn serve(
    object: &DatasetObject,
    manifests: &Manifests,
    state: &StateDir,
    options: &cli::Mount,
    cache: &Cache,
    fetcher: &Fetcher,
) -> anyhow::Result<Served> {
    let (namespace, name) = wishes::names(object);
    let dataset = Dataset::open(DatasetParts {
        settings: wishes::settings(object),
        mounts: stores::open(object, manifests)?,
        cache: cache.clone(),
        fetcher: fetcher.clone(),
        state_dir: state.dataset(&namespace, &name),
        share: None,
        catalogs: None,
    })?;
    // Absolute, because status is read from other directories.
    let at = std::path::absolute(&options.at).context("--at")?;
    let mut mount = MountOptions::new(wishes::full_name(object), at.join(&name));
    mount.owner = wishes::owner(object);
    mount.use_helper = options.use_fusermount;
    mount.not_native = options.no_passthrough.then_some(way::NO_PASSTHROUGH);
    mount.kept_ids = options.passthrough_kept;
    let objects = state.dataset(&namespace, &name).join("objects");
    let composed = options.composed.then(|| match composed::why_not(&dataset, &mount) {
        Some(why) => Err(why),
        None => Ok(Place { options: mount.clone(), published: cache.published(), objects }),
    });
    Ok(Served::new((namespace, name), dataset, mount, composed))
}
