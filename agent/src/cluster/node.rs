use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use forebay_api::DatasetName;
use forebay_api::session::{DatasetState, TierHealth as TierReport};
use forebay_cache::{Cache, CacheConfig, Stats, TierConfig, TierHealth, TierUsage, Usage};
use forebay_crds::dataset::Dataset as DatasetObject;
use forebay_crds::manifest::Manifests;
use forebay_crds::values::{HostPath, SourceKind};
use forebay_dataset::{Dataset, DatasetParts, Mount};
use forebay_fetch::{Class, Fetcher, Remote, StatsSnapshot};
use forebay_peers::{Answer, BodyError, Net};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;

use super::hosted::Hosted;
use super::peers;
use super::table::Table;
use super::withheld::{self, Unheard, Waiting};
use crate::state::StateDir;
use crate::view::{DatasetView, Opens, Readiness, View};
use crate::{engine, stores, wishes};

/// The cache and the way into it, and the Datasets that use them.
pub(crate) struct Node {
    pub(crate) table: Arc<Table>,
    pub(crate) cache: Cache,
    fetcher: Fetcher,
    net: Arc<Net>,
    /// Whether the operator has said everything once, or a former agent had it on disk.
    told: AtomicBool,
    /// Datasets that are served as a former process left them.
    pub(super) unheard: Unheard,
}

impl Node {
    pub(crate) fn open(
        tiers: Vec<TierConfig>,
        state: &StateDir,
        memory_mib: u32,
        table: Arc<Table>,
        net: Arc<Net>,
    ) -> anyhow::Result<Self> {
        let smallest = tiers.iter().map(|tier| tier.capacity).min().unwrap_or(0);
        let cache = Cache::open(CacheConfig::new(tiers, state.index())).context("open the cache")?;
        let fetcher = Fetcher::new(engine::fetch_config(memory_mib, smallest), Handle::current());
        Ok(Self { table, cache, fetcher, net, told: AtomicBool::new(false), unheard: Unheard::new() })
    }

    /// What is desired is known from here on.
    pub(crate) fn told(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Opens the Dataset that is desired, with its catalogs in `state_dir`. What was `waiting` for its stores goes on.
    pub(crate) fn dataset(
        &self,
        desired: &DatasetState,
        allowed: &[HostPath],
        state_dir: PathBuf,
        waiting: Vec<Waiting>,
    ) -> anyhow::Result<Dataset> {
        let object = super::hosted::object(desired);
        let manifests = manifests(&object, desired, allowed)?;
        let mut mounts = stores::open(&object, &manifests)?;
        self.withhold(&object, &manifests, &mut mounts, &desired.dataset);
        waiting.into_iter().for_each(|waiting| waiting.go_on(&mounts));
        let spread = peers::spread(&desired.spec);
        for mount in &mut mounts {
            peers::ask_first(&self.net, &desired.dataset, spread, mount);
        }
        Ok(Dataset::open(DatasetParts {
            settings: wishes::settings(&object),
            mounts,
            cache: self.cache.clone(),
            fetcher: self.fetcher.clone(),
            state_dir,
            share: peers::share(&self.net, spread),
            catalogs: peers::catalogs::of_others(&self.net, desired),
        })?)
    }

    /// A mount whose Secret has not come is there, and cannot be asked.
    fn withhold(&self, object: &DatasetObject, manifests: &Manifests, opened: &mut [Mount], dataset: &DatasetName) {
        let mut waiting = Vec::new();
        for (mount, wanted) in opened.iter_mut().zip(&object.spec.mounts) {
            if let Some(secret) = wanted.secret_ref.as_ref().filter(|secret| manifests.secret_of(object, secret).is_none()) {
                let name = format!("{}/{}", dataset.namespace, secret.name.as_str());
                waiting.push(withheld::withhold(mount, &name, self.unheard.until()));
            }
        }
        self.unheard.keep(dataset, waiting);
    }

    /// The bytes of an object, for another agent; without a class only what is cached.
    pub(super) fn stream(&self, remote: Remote, class: Option<Class>, range: Range<u64>) -> Answer {
        self.fetcher.stream(remote, class, range).map_err(BodyError::from).boxed()
    }

    /// How the tiers do, for the operator.
    pub(crate) fn tiers(&self) -> Vec<TierReport> {
        let health = self.cache.health();
        let report = |tier: TierUsage| TierReport {
            fault: health.iter().find(|known| known.name == tier.name).and_then(TierHealth::fault).map(str::to_owned),
            capacity_bytes: tier.capacity,
            used_bytes: tier.charged,
            pinned_bytes: tier.pinned,
            name: tier.name,
        };
        self.cache.usage().tiers.into_iter().map(report).collect()
    }
}

/// What the stores are opened with, if the Dataset may be served here.
fn manifests(object: &DatasetObject, desired: &DatasetState, allowed: &[HostPath]) -> anyhow::Result<Manifests> {
    for mount in &object.spec.mounts {
        let at = mount.path.as_str();
        if let SourceKind::File { path } = mount.source.kind() {
            let path: HostPath = path.to_string().parse().with_context(|| format!("mount {at}: its directory"))?;
            ensure!(
                allowed.iter().any(|allowed| path.is_within(allowed)),
                "mount {at}: directory {} of the node may not be mounted: add it to the CacheRuntime's spec.allowedHostPaths",
                path.as_str()
            );
        }
        ensure!(
            mount.options.credentials_file.is_none(),
            "mount {at}: options.credentialsFile is for an agent without a cluster: put the credentials into a Secret and name it in \
             secretRef"
        );
    }
    Ok(Manifests { secrets: desired.secrets.clone(), ..Manifests::default() })
}

impl View for Node {
    fn opens(&self) -> Vec<Opens> {
        let one = |hosted: &Hosted| Opens {
            namespace: hosted.name.namespace.clone(),
            name: hosted.name.name.clone(),
            counts: hosted.opens(),
        };
        self.table.all().iter().map(|hosted| one(hosted)).collect()
    }
    fn datasets(&self) -> Vec<DatasetView> {
        self.table.all().iter().map(|hosted| hosted.view()).collect()
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
    fn readiness(&self) -> Readiness {
        let told = self.told.load(Ordering::Acquire);
        Readiness::Agent((!told).then(|| "the operator has not said yet what is to be served".to_owned()))
    }
    fn refresh(&self, name: &str) -> bool {
        let found = self.table.all().into_iter().find(|hosted| hosted.name.to_string() == name);
        found.inspect(|hosted| hosted.refresh()).is_some()
    }
}
