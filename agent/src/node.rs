//! The agent at work, standalone: from a manifest file to mounted Datasets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use forebay_cache::{Cache, CacheConfig, Stats, TierConfig, TierHealth, Usage};
use forebay_crds::dataset::{ConsistencyPolicy, Dataset as DatasetObject, PrefetchPolicy};
use forebay_crds::manifest::{self, Manifests};
use forebay_dataset::{Consistency, Dataset, DatasetParts, Prefetch, Settings};
use forebay_fetch::{FetchConfig, Fetcher, StatsSnapshot};
use forebay_fs::Owner;
use forebay_fuse::{MountOptions, cleanup_dead_below};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cli;
use crate::progress::{self, Console};
use crate::served::Served;
use crate::state::StateDir;
use crate::view::{DatasetView, View};
use crate::{control, metrics, stores, tiers};

/// Names of a Validate Dataset's tree are listed anew at this age unless it says otherwise.
const VALIDATE_NAMES: Duration = Duration::from_secs(600);
/// Memory for sorting a listing; more entries go through temporary files.
const LISTING_MEMORY: usize = 32 << 20;

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
    for dead in cleanup_dead_below(&options.at)? {
        info!(at = %dead.display(), "removed the mount of an agent that was killed");
    }
    let node = Arc::new(Node::assemble(&options, &manifests, &state)?);

    let stop = CancellationToken::new();
    let view: Arc<dyn View> = node.clone();
    let control = control::serve(forebay_api::socket::path(state.path()), view.clone(), stop.clone()).await?;
    let (address, metrics) = metrics::serve(options.metrics_addr, view.clone(), stop.clone()).await?;
    info!(%address, "serving metrics and health");
    let progress = tokio::spawn(progress::run(view, console, stop.clone()));
    let recovery = recover(node.clone(), stop.clone());
    let lives: Vec<_> = node.served.iter().map(|served| tokio::spawn(served.clone().run(stop.clone()))).collect();

    wait_for_signal().await?;
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
        let served: Vec<String> = manifests.datasets.iter().map(full_name).collect();
        state.forget_datasets(&served).context("remove the catalogs of Datasets that left the manifest")?;
        let fetcher = Fetcher::new(fetch_config(options.memory, smallest), Handle::current());
        let mut served = Vec::new();
        for object in &manifests.datasets {
            let one = serve(object, manifests, state, options, &cache, &fetcher);
            let named = || format!("Dataset {}", full_name(object));
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
    fn refresh(&self, name: &str) -> bool {
        let found = self.served.iter().find(|served| served.name() == name);
        found.inspect(|served| served.refresh()).is_some()
    }
}

fn full_name(object: &DatasetObject) -> String {
    let (namespace, name) = names(object);
    format!("{namespace}/{name}")
}

fn names(object: &DatasetObject) -> (String, String) {
    let meta = &object.metadata;
    (meta.namespace.clone().unwrap_or_else(|| "default".into()), meta.name.clone().unwrap_or_default())
}

fn serve(
    object: &DatasetObject,
    manifests: &Manifests,
    state: &StateDir,
    options: &cli::Mount,
    cache: &Cache,
    fetcher: &Fetcher,
) -> anyhow::Result<Served> {
    let (namespace, name) = names(object);
    let dataset = Dataset::open(DatasetParts {
        settings: settings(object),
        mounts: stores::open(object, manifests)?,
        cache: cache.clone(),
        fetcher: fetcher.clone(),
        state_dir: state.dataset(&namespace, &name),
    })?;
    // Absolute, because status is read from other directories.
    let at = std::path::absolute(&options.at).context("--at")?;
    let mut mount = MountOptions::new(full_name(object), at.join(&name));
    mount.owner = owner(object);
    mount.use_helper = options.use_fusermount;
    Ok(Served::new(namespace, name, dataset, mount))
}

fn settings(object: &DatasetObject) -> Settings {
    let spec = &object.spec;
    let max_age = spec.consistency.max_age.as_ref().map(|age| age.duration());
    let paths = |paths: &[forebay_crds::values::TreePath]| paths.iter().map(|path| path.as_str().to_owned()).collect();
    Settings {
        name: full_name(object),
        consistency: match spec.consistency.policy {
            ConsistencyPolicy::Snapshot => Consistency::Snapshot,
            ConsistencyPolicy::MaxAge => Consistency::MaxAge(max_age.unwrap_or(VALIDATE_NAMES)),
            ConsistencyPolicy::Validate => Consistency::Validate(max_age.unwrap_or(VALIDATE_NAMES)),
        },
        prefetch: Prefetch {
            paths: match spec.prefetch.policy {
                PrefetchPolicy::OnDemand => Vec::new(),
                PrefetchPolicy::Eager => paths(&spec.prefetch.paths),
            },
            tier: spec.prefetch.tier.as_ref().map(|tier| tier.as_str().to_owned()),
            order: spec.prefetch.order,
            concurrency: usize::try_from(spec.prefetch.concurrency).unwrap_or(1),
        },
        pins: paths(&spec.pin.paths),
        quota: spec.quota.as_ref().map(|quota| quota.bytes()),
        ttl: spec.ttl.as_ref().map(|ttl| ttl.duration()),
        listing_memory: LISTING_MEMORY,
    }
}

fn owner(object: &DatasetObject) -> Owner {
    let owner = &object.spec.owner;
    Owner {
        uid: owner.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: owner.gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
        file_mode: owner.file_mode.bits(),
        dir_mode: owner.dir_mode.bits(),
    }
}

/// Two thirds of the memory are the readers', a third is prefetch's. What is read ahead has to stay in the cache until
/// its reader comes, so a small tier shortens it.
fn fetch_config(memory_mib: u32, smallest_tier: u64) -> FetchConfig {
    let memory = usize::try_from(memory_mib).unwrap_or(48) << 20;
    let usual = FetchConfig::default();
    let ahead = u32::try_from(smallest_tier / 16 / forebay_cache::BLOCK).unwrap_or(u32::MAX);
    FetchConfig { reader_memory: memory / 3 * 2, background_memory: memory / 3, max_ahead: usual.max_ahead.min(ahead), ..usual }
}

/// Reads through the tiers in the background; what was cached is served meanwhile.
fn recover(node: Arc<Node>, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let ended = Arc::new(AtomicBool::new(false));
        let scan = tokio::task::spawn_blocking({
            let ended = ended.clone();
            move || {
                let report = node.cache.recover(&ended);
                // Datasets that left the manifest: only now is all that the tiers hold of them known.
                let freed = node.cache.remove_undeclared();
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

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
