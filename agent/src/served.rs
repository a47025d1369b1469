//! One Dataset on this node: its life, its mount, and what the kernel is told when it changes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use forebay_cache::LayerChanges;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_dataset::Dataset;
use forebay_fuse::{MountOptions, Mounted, OpenCounts, Unmounted, top_names};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::anew::{Anew, Uncounted};
use crate::composed::{self, Composed, Place};
use crate::view::{DatasetView, Opens};
use crate::way;

/// How long an unmount waits for those who have files open before it takes the mount out of sight.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the tree is shown.
enum Shown {
    Plain(Mounted),
    Composed(Composed),
}

/// A Dataset and its mount.
pub(crate) struct Served {
    namespace: String,
    name: String,
    dataset: Dataset,
    options: MountOptions,
    mounted: AtomicBool,
    uncounted: Uncounted,
    since: SystemTime,
    /// Where a composed mount goes, or why there can be none; `None`: nobody asked for one.
    place: Option<Result<Place, String>>,
    mount: Mutex<Option<Shown>>,
    /// What was counted of the mount's opens when last asked.
    counted: Mutex<OpenCounts>,
    /// When it was mounted, and why it is not composed.
    way: Mutex<Option<(Timestamp, Option<String>)>>,
}

impl Served {
    /// `place`: where a composed mount goes, or why there can be none; `None`: a plain one is wanted.
    pub(crate) fn new(
        (namespace, name): (String, String),
        dataset: Dataset,
        options: MountOptions,
        place: Option<Result<Place, String>>,
    ) -> Self {
        Self {
            namespace,
            name,
            dataset,
            options,
            mounted: AtomicBool::new(false),
            uncounted: Uncounted::default(),
            since: SystemTime::now(),
            place,
            mount: Mutex::new(None),
            counted: Mutex::default(),
            way: Mutex::default(),
        }
    }

    /// `namespace/name`.
    pub(crate) fn name(&self) -> &str {
        self.dataset.name()
    }

    pub(crate) fn refresh(&self) {
        self.dataset.refresh(None);
    }

    pub(crate) fn view(&self) -> DatasetView {
        let mut status = self.dataset.status();
        let not_native = self.counts().why_not;
        if let Some((since, not_composed)) = &*lock(&self.way) {
            // Of what nobody asked for nothing is said.
            status.conditions.extend(self.place.is_some().then(|| way::composed(not_composed.clone(), *since)));
            status.conditions.push(way::native(not_native.as_deref(), not_composed.as_deref(), *since));
        }
        DatasetView {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            at: self.options.at.clone(),
            mounted: self.mounted.load(Ordering::Acquire),
            since: self.since,
            listing: self.dataset.listing(),
            status,
            not_native,
        }
    }

    fn counts(&self) -> OpenCounts {
        // Who asks for the status does not wait for a tree that is being mounted or shown anew: what was counted before it is told.
        if let Ok(mount) = self.mount.try_lock() {
            *lock(&self.counted) = match &*mount {
                None => OpenCounts::default(),
                Some(Shown::Plain(mounted)) => mounted.opens(),
                Some(Shown::Composed(composed)) => composed.opens(),
            };
        }
        lock(&self.counted).clone()
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
        let (mut generation, mut passes) = (self.dataset.generation(), self.dataset.passes());
        let mut shown = 0;
        let mut publishing: Option<JoinHandle<()>> = None;
        let mut anew = Anew::default();
        loop {
            let number = *generation.borrow_and_update();
            if number != shown {
                match self.show(number).await {
                    Ok(()) => shown = number,
                    Err(error) => error!(dataset = self.dataset.name(), "{error:#}"),
                }
                let (served, stop) = (self.clone(), stop.clone());
                publishing = Some(tokio::task::spawn_blocking(move || served.publish(&stop)));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = generation.changed() => if changed.is_err() { break },
                changed = passes.changed() => {
                    if changed.is_err() { break }
                    // What it pinned.
                    self.uncounted.count();
                    anew.look(|| self.layer_changes(), || self.forget()).await;
                }
                () = anew.keep_looking(|| self.layer_changes(), || self.forget()) => {}
            }
        }
        if let Some(publishing) = publishing
            && let Err(error) = publishing.await
        {
            error!(dataset = self.dataset.name(), %error, "publishing died");
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
            let mut mount = lock(&served.mount);
            if let Some(Shown::Composed(composed)) = &mut *mount {
                return composed.renew(&served.dataset).context("mount the new generation");
            }
            if let Some(Shown::Plain(mounted)) = &*mount {
                let names = std::iter::once_with(|| top_names(&served.dataset)).flatten();
                return mounted.notifier().invalidate_all(names).context("tell the kernel of the new generation");
            }
            let (shown, why_not) = served.mount(runtime)?;
            let at = match &shown {
                Shown::Plain(mounted) => mounted.at(),
                Shown::Composed(composed) => composed.at(),
            };
            info!(dataset = served.dataset.name(), at = %at.display(), generation, not_composed = why_not, "mounted");
            *mount = Some(shown);
            *lock(&served.way) = Some((Timestamp::now(), why_not));
            served.mounted.store(true, Ordering::Release);
            Ok(())
        })
        .await?
    }

    /// Mounts as far up the ladder as it goes, and says why not further.
    fn mount(&self, runtime: Handle) -> anyhow::Result<(Shown, Option<String>)> {
        let why = match &self.place {
            None => "this agent was not started with --composed".to_owned(),
            Some(Err(why)) => why.clone(),
            Some(Ok(place)) => match composed::mount(&self.dataset, place.clone(), runtime.clone()) {
                Ok(composed) => return Ok((Shown::Composed(composed), None)),
                Err(error) => {
                    warn!(dataset = self.dataset.name(), "the mount is not composed: {error:#}");
                    format!("{error:#}")
                }
            },
        };
        composed::remove_left(&self.options.at)?;
        let mounted = forebay_fuse::mount(Arc::new(self.dataset.clone()), &self.options, runtime)
            .with_context(|| format!("mount Dataset {}", self.dataset.name()))?;
        Ok((Shown::Plain(mounted), Some(why)))
    }

    fn is_composed(&self) -> bool {
        matches!(*lock(&self.mount), Some(Shown::Composed(_)))
    }

    /// Publishes what is pinned and complete already, once the mount can make use of it, and lets what is small be published as it comes.
    fn publish(&self, stop: &CancellationToken) {
        if self.is_composed() && self.dataset.publish(|| !stop.is_cancelled()) > 0 {
            self.forget_unused();
            // Once more, for what was open and if it failed.
            self.uncounted.count();
        }
    }

    fn layer_changes(&self) -> LayerChanges {
        self.uncounted.with(self.dataset.layer_changes())
    }

    /// Lets the kernel look anew for the data of files that nobody has open; whether it did.
    async fn forget(self: &Arc<Self>) -> bool {
        let served = self.clone();
        tokio::task::spawn_blocking(move || served.forget_unused()).await.unwrap_or_else(|error| {
            error!(dataset = self.dataset.name(), %error, "forgetting died");
            false
        })
    }

    fn forget_unused(&self) -> bool {
        let mount = lock(&self.mount);
        let Some(Shown::Composed(composed)) = &*mount else { return true };
        let forgotten = composed.forget();
        if let Err(error) = &forgotten {
            warn!(dataset = self.dataset.name(), "{error:#}");
        }
        forgotten.is_ok()
    }

    async fn hide(self: &Arc<Self>) {
        let served = self.clone();
        let hidden = tokio::task::spawn_blocking(move || {
            let mount = lock(&served.mount).take();
            served.mounted.store(false, Ordering::Release);
            mount.map(|shown| match shown {
                Shown::Plain(mounted) => mounted.unmount(PATIENCE).map_err(anyhow::Error::from),
                Shown::Composed(composed) => composed.unmount(PATIENCE),
            })
        });
        let (dataset, at) = (self.dataset.name(), self.options.at.display());
        match hidden.await {
            Ok(Some(Ok(Unmounted::Cleanly))) => info!(dataset, %at, "unmounted"),
            Ok(Some(Ok(Unmounted::Lazily))) => {
                warn!(dataset, %at, "unmounted while in use: whoever has files open there gets errors from now on");
            }
            Ok(Some(Err(error))) => error!(dataset, %at, "a mount stays behind: {error:#}"),
            Ok(None) => {}
            Err(error) => error!(dataset, %at, %error, "unmounting died"),
        }
    }

    /// Where the tree is shown.
    pub(crate) fn at(&self) -> &PathBuf {
        &self.options.at
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
