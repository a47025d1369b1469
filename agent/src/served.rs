//! One Dataset on this node: its life, its mount, and what the kernel is told when it changes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use forebay_dataset::Dataset;
use forebay_fuse::{MountOptions, Mounted, OpenCounts, Unmounted};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::view::{DatasetView, Opens};

/// How long an unmount waits for those who have files open before it takes the mount out of sight.
const PATIENCE: Duration = Duration::from_secs(3);
/// Names in the root that an old kernel is told of one by one at a change of generation.
const TOP: usize = 10_000;

/// A Dataset and its mount.
pub(crate) struct Served {
    namespace: String,
    name: String,
    dataset: Dataset,
    options: MountOptions,
    mounted: AtomicBool,
    since: SystemTime,
    mount: Mutex<Option<Mounted>>,
}

impl Served {
    pub(crate) fn new(namespace: String, name: String, dataset: Dataset, options: MountOptions) -> Self {
        Self {
            namespace,
            name,
            dataset,
            options,
            mounted: AtomicBool::new(false),
            since: SystemTime::now(),
            mount: Mutex::new(None),
        }
    }

    /// `namespace/name`.
    pub(crate) fn name(&self) -> &str {
        self.dataset.name()
    }

    pub(crate) fn refresh(&self) {
        self.dataset.refresh();
    }

    pub(crate) fn view(&self) -> DatasetView {
        let status = self.dataset.status();
        DatasetView {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            at: self.options.at.clone(),
            mounted: self.mounted.load(Ordering::Acquire),
            since: self.since,
            listing: self.dataset.listing(),
            status,
            not_native: self.counts().why_not,
        }
    }

    fn counts(&self) -> OpenCounts {
        let mount = self.mount.lock().unwrap_or_else(PoisonError::into_inner);
        mount.as_ref().map(Mounted::opens).unwrap_or_default()
    }

    pub(crate) fn opens(&self) -> Opens {
        Opens { namespace: self.namespace.clone(), name: self.name.clone(), counts: self.counts() }
    }

    /// Lives until `stop`: lists, mounts once there is something to see, tells the kernel of changes, unmounts.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let life = tokio::spawn({
            let (dataset, stop) = (self.dataset.clone(), stop.clone());
            async move { dataset.run(stop).await }
        });
        let mut generation = self.dataset.generation();
        loop {
            let number = *generation.borrow_and_update();
            if number > 0 {
                let told = self.show(number).await;
                if let Err(error) = told {
                    error!(dataset = self.dataset.name(), "{error:#}");
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = generation.changed() => if changed.is_err() { break },
            }
        }
        self.hide().await;
        if let Err(error) = life.await {
            error!(dataset = self.dataset.name(), %error, "the Dataset's task died");
        }
    }

    /// Mounts the tree, or tells the kernel that an already mounted one changed.
    async fn show(self: &Arc<Self>, generation: u64) -> anyhow::Result<()> {
        let served = self.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut mount = served.mount.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(mounted) = &*mount {
                let names = served.dataset.top_names(TOP);
                let names = names.iter().map(|name| name.as_bytes());
                return mounted.notifier().invalidate_all(names, TOP).context("tell the kernel of the new generation");
            }
            let mounted = forebay_fuse::mount(Arc::new(served.dataset.clone()), &served.options, runtime)
                .with_context(|| format!("mount Dataset {}", served.dataset.name()))?;
            info!(dataset = served.dataset.name(), at = %mounted.at().display(), generation, "mounted");
            *mount = Some(mounted);
            served.mounted.store(true, Ordering::Release);
            Ok(())
        })
        .await?
    }

    async fn hide(self: &Arc<Self>) {
        let served = self.clone();
        let hidden = tokio::task::spawn_blocking(move || {
            let mount = served.mount.lock().unwrap_or_else(PoisonError::into_inner).take();
            served.mounted.store(false, Ordering::Release);
            mount.map(|mounted| mounted.unmount(PATIENCE))
        });
        let (dataset, at) = (self.dataset.name(), self.options.at.display());
        match hidden.await {
            Ok(Some(Ok(Unmounted::Cleanly))) => info!(dataset, %at, "unmounted"),
            Ok(Some(Ok(Unmounted::Lazily))) => {
                warn!(dataset, %at, "unmounted while in use: whoever has files open there gets errors from now on");
            }
            Ok(Some(Err(error))) => error!(dataset, %at, %error, "a mount stays behind"),
            Ok(None) => {}
            Err(error) => error!(dataset, %at, %error, "unmounting died"),
        }
    }

    /// Where the tree is shown.
    pub(crate) fn at(&self) -> &PathBuf {
        &self.options.at
    }
}
