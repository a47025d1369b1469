//! Keeps one mount for each Dataset in use on this node, and sees to it that somebody serves it.
//!
//! [`Keeper::step`] brings one Dataset one step nearer to being mounted and served; calls and [`Keeper::supervise`] repeat it.
//! What is mounted, how it is called and for whom is in [`Records`], so that it can be taken up after any end of this process.

mod agents;
mod backings;
mod composed;
mod error;
mod leaving;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_api::DatasetName;
use forebay_api::node::{Agent, MountId, Negotiated, opens_dir};
use forebay_mountinfo::Mounts;
use rustix::mount::MountFlags;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::error::KeepError;
use self::leaving::Ends;
use crate::asker::{Answer, Asker};
use crate::locks::Locks;
use crate::mounter;
use crate::records::{Kind, Records, Use};

/// How long a call waits for what may come by itself: an agent's start, a listing that is nearly done.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between attempts.
const AGAIN: Duration = Duration::from_millis(300);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);
/// How often a mount that is well is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a mount may take to answer before it counts as silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Where things lie.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The mounts of Datasets: `NAMESPACE/NAME` below it.
    pub(crate) datasets: PathBuf,
    /// The composed mounts over them: `NAMESPACE/NAME/MOUNT-GENERATION` below it.
    pub(crate) composed: PathBuf,
    /// What this driver remembers.
    pub(crate) records: PathBuf,
    /// What csi and agents share.
    pub(crate) run: PathBuf,
}

/// A mount whose descriptor is here.
#[derive(Debug, Clone)]
struct Kept {
    mount: MountId,
    device: Arc<OwnedFd>,
    negotiated: Negotiated,
    /// As the list of mounts names the file system.
    number: String,
    /// The agents that serve it, in the order in which they came: two while one follows the other.
    servers: Vec<Agent>,
    /// One that has been asked to serve it, and may be at it already.
    asked: Option<Agent>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    places: Places,
    read_ahead_kib: u32,
    records: Records,
    agents: Mutex<Vec<Agent>>,
    kept: Mutex<BTreeMap<DatasetName, Kept>>,
    ends: Mutex<Ends>,
    /// Held for each change to a Dataset's mount and its uses.
    locks: Locks<DatasetName>,
    asker: Asker,
    changed: Notify,
}

/// How far a Dataset has come.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    Served,
    /// Its mount is alive, and whoever has its descriptor will come.
    Awaited,
}

impl Keeper {
    /// Takes up what a former process left. Blocks for a moment.
    pub(crate) fn new(places: Places, read_ahead_kib: u32) -> io::Result<Self> {
        std::fs::create_dir_all(&places.datasets)?;
        Ok(Self {
            records: Records::open(places.records.clone())?,
            places,
            read_ahead_kib,
            agents: Mutex::default(),
            kept: Mutex::default(),
            ends: Mutex::default(),
            locks: Locks::default(),
            asker: Asker::default(),
            changed: Notify::new(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agents(&self) -> MutexGuard<'_, Vec<Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the Dataset's own mount stands.
    pub(crate) fn at(&self, dataset: &DatasetName) -> PathBuf {
        self.places.datasets.join(&dataset.namespace).join(&dataset.name)
    }

    /// Looks after all Datasets in use, for ever. Cancellation-safe.
    pub(crate) async fn supervise(self: Arc<Self>) {
        self.sweep_all().await;
        let mut pause = AGAIN;
        loop {
            let mut steps = tokio::task::JoinSet::new();
            let datasets: BTreeSet<_> = self.records.list().iter().map(Use::dataset).collect();
            for dataset in datasets {
                let keeper = Arc::clone(&self);
                steps.spawn(async move { keeper.look(&dataset).await.map_err(|error| (dataset, error)) });
            }
            let mut well = true;
            for stand in steps.join_all().await {
                if let Err((dataset, error)) = &stand {
                    tracing::debug!(%dataset, %error, "a Dataset is not as it should be");
                }
                well &= matches!(stand, Ok(Stand::Served));
            }
            let wait = if well { LOOK_EVERY } else { pause };
            match tokio::time::timeout(wait, self.changed.notified()).await {
                Ok(()) => pause = AGAIN,
                Err(_) => pause = (pause * 2).min(AGAIN_AT_MOST),
            }
        }
    }

    /// Waits, but not for ever, until the Dataset is mounted and served.
    pub(crate) async fn ensure(self: &Arc<Self>, dataset: &DatasetName) -> Result<(), KeepError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let failed = match self.step(dataset).await {
                Ok(Stand::Served) => return Ok(()),
                Ok(Stand::Awaited) => KeepError::Awaited { dataset: dataset.clone() },
                Err(error) if error.may_pass() => error,
                Err(error) => return Err(error),
            };
            if Instant::now() >= until {
                return Err(failed);
            }
            let _ = tokio::time::timeout(AGAIN, self.changed.notified()).await;
        }
    }

    /// A step for a Dataset in use. It may not be in use any more: then what the last call that used it could not take away goes.
    async fn look(self: &Arc<Self>, dataset: &DatasetName) -> Result<Stand, KeepError> {
        let _lock = self.locks.lock(dataset.clone()).await;
        if self.records.in_use(dataset) {
            self.sweep_composed(dataset).await?;
            return self.step_locked(dataset).await;
        }
        self.sweep(dataset).await.map(|()| Stand::Served)
    }

    async fn step(self: &Arc<Self>, dataset: &DatasetName) -> Result<Stand, KeepError> {
        let _lock = self.locks.lock(dataset.clone()).await;
        self.step_locked(dataset).await
    }

    /// The Dataset's lock must be held.
    async fn step_locked(self: &Arc<Self>, dataset: &DatasetName) -> Result<Stand, KeepError> {
        let kept = self.kept().get(dataset).cloned();
        let at = self.at(dataset);
        let number = self.number(dataset, &at)?;
        let failed = |source| KeepError::Mount { at: self.at(dataset), source };
        match (kept, number) {
            (Some(kept), Some(number)) if kept.number == number => {
                if kept.servers.is_empty() {
                    self.find_server(dataset, &kept).await?;
                }
                Ok(Stand::Served)
            }
            (None, Some(_)) => match self.ask(at).await.map_err(failed)? {
                Answer::Dead => {
                    tracing::warn!(%dataset, "nobody has the descriptor of this mount any more; mounting anew");
                    self.mount(dataset).await.map(|()| Stand::Served)
                }
                Answer::Alive(_) | Answer::Silent | Answer::Failed(_) => Ok(Stand::Awaited),
            },
            (kept, _) => {
                if kept.is_some() {
                    tracing::warn!(%dataset, "the mount was taken away; mounting anew");
                    self.let_go(dataset);
                }
                self.mount(dataset).await.map(|()| Stand::Served)
            }
        }
    }

    /// The number of what is mounted for the Dataset now.
    fn number(&self, dataset: &DatasetName, at: &Path) -> Result<Option<String>, KeepError> {
        let mounts = Mounts::read().map_err(|source| KeepError::Mount { at: at.to_owned(), source })?;
        Ok(mounter::is_dataset(&mounts, at, dataset))
    }

    /// Mounts anew, lets an agent serve it, and shows it wherever it is published. The Dataset's lock must be held.
    async fn mount(&self, dataset: &DatasetName) -> Result<(), KeepError> {
        let agents = self.who_have(dataset).await?;
        let (at, named) = (self.at(dataset), dataset.clone());
        let failed = |source| KeepError::Mount { at: self.at(dataset), source };
        let place = at.clone();
        let (device, number) = blocking(move || {
            mounter::unmount_all(&place)?;
            std::fs::create_dir_all(&place)?;
            mounter::mount_fuse(&place, &named)
        })
        .await
        .map_err(failed)?;
        let mount = MountId(fastrand::u64(..));
        let record = Use {
            path: at.clone(),
            volume: String::new(),
            namespace: dataset.namespace.clone(),
            name: dataset.name.clone(),
            kind: Kind::Mount { id: mount.0, number: number.clone() },
        };
        let served = match self.records.put(record) {
            Ok(()) => {
                if let Err(error) = backings::make_table(&self.places.run, mount) {
                    tracing::warn!(%dataset, %error, "its files are read through the agent");
                }
                self.first_server(dataset, &agents, mount, &device).await
            }
            Err(source) => Err(KeepError::Record { source }),
        };
        let (server, negotiated) = match served {
            Ok(served) => served,
            Err(error) => {
                // Greeted or not, nobody has used it: nothing is lost with it.
                blocking(move || mounter::unmount_all(&at)).await.map_err(failed)?;
                self.records.remove(&self.at(dataset)).map_err(|source| KeepError::Record { source })?;
                self.clear_tables().map_err(|source| KeepError::Record { source })?;
                return Err(error);
            }
        };
        if let Err(error) = mounter::set_read_ahead(&number, self.read_ahead_kib) {
            tracing::debug!(%dataset, %error, "read-ahead stays at the kernel's default");
        }
        tracing::info!(%dataset, %mount, runtime = server.runtime(), "mounted");
        let kept =
            Kept { mount, device: Arc::new(device), negotiated, number: number.clone(), servers: vec![server], asked: None };
        self.kept().insert(dataset.clone(), kept);
        if let Err(error) = self.clear_tables() {
            tracing::debug!(%error, "tables of mounts that are gone stay");
        }
        self.bind_again(dataset, &number).await;
        // Also to an agent that keeps what a former mount showed.
        self.tell_composed(dataset, None).await;
        Ok(())
    }

    async fn first_server(
        &self,
        dataset: &DatasetName,
        agents: &[Agent],
        mount: MountId,
        device: &OwnedFd,
    ) -> Result<(Agent, Negotiated), KeepError> {
        let mut refused = None;
        for agent in agents {
            self.before_serving(agent, mount);
            match agent.serve(mount, dataset, device.as_fd(), None).await {
                Ok(negotiated) => return Ok((agent.clone(), negotiated)),
                Err(error) => match KeepError::of_agent(dataset, error) {
                    // Nobody has greeted the kernel yet, so the next one may.
                    unknown @ KeepError::Unknown { .. } => refused = refused.or(Some(unknown)),
                    other => return Err(other),
                },
            }
        }
        Err(refused.unwrap_or_else(|| KeepError::NoAgent { dataset: dataset.clone() }))
    }

    /// Shows a new mount where the former one was published. Composed mounts over the former are of no more use.
    async fn bind_again(&self, dataset: &DatasetName, number: &str) {
        for used in self.records.list() {
            let Kind::Publish { flags, generation } = used.kind else { continue };
            if used.dataset() != *dataset {
                continue;
            }
            if generation.is_some() {
                let kind = Kind::Publish { flags, generation: None };
                if let Err(error) = self.records.put(Use { kind, ..used.clone() }) {
                    tracing::warn!(%dataset, %error, "what a pod sees is not remembered");
                }
            }
            let (from, to, number) = (self.at(dataset), used.path.clone(), number.to_owned());
            let bound = blocking(move || {
                if !to.parent().is_some_and(Path::exists) {
                    return Ok(());
                }
                volumes::show(&from, &to, MountFlags::from_bits_truncate(flags), &number)
            });
            if let Err(error) = bound.await {
                tracing::warn!(%dataset, target = %used.path.display(), %error, "a volume could not be shown again");
            }
        }
    }

    /// Forgets the mount's descriptor, and tells those who serve it.
    fn let_go(&self, dataset: &DatasetName) {
        let Some(Kept { mount, servers, .. }) = self.kept().remove(dataset) else { return };
        for agent in servers {
            tokio::spawn(async move { agent.release(mount).await });
        }
    }

    /// Takes the Dataset's mount away if no volume uses it. The Dataset's lock must be held.
    async fn sweep(&self, dataset: &DatasetName) -> Result<(), KeepError> {
        if self.records.in_use(dataset) {
            return Ok(());
        }
        let at = self.at(dataset);
        let failed = |source| KeepError::Mount { at: at.clone(), source };
        self.sweep_composed(dataset).await?;
        let place = at.clone();
        blocking(move || mounter::unmount_all(&place)).await.map_err(failed)?;
        // Before what may fail yet: nobody shows it from here on.
        self.let_go(dataset);
        let place = at.clone();
        let gone = blocking(move || {
            mounter::remove_dir(&place)?;
            // The namespace's directory stays while another Dataset is in it.
            let _ = place.parent().map(mounter::remove_dir);
            Ok(())
        });
        gone.await.map_err(failed)?;
        self.records.remove(&at).map_err(|source| KeepError::Record { source })?;
        self.clear_tables().map_err(|source| KeepError::Record { source })
    }

    /// Removes what is empty, so that a driver that is not started again leaves nothing on its node.
    pub(crate) fn tidy(&self) {
        for dir in [&self.places.records, &self.places.composed, &self.places.datasets, &opens_dir(&self.places.run)] {
            // One that is in use stays.
            let _ = mounter::remove_dir(dir);
        }
    }

    /// Takes away the mounts that a former process left and nobody uses.
    async fn sweep_all(&self) {
        let mounts = Mounts::read().unwrap_or_default();
        for mount in mounts.iter() {
            let composed = mount.at.strip_prefix(&self.places.composed).ok().and_then(Path::parent);
            let below = mount.at.strip_prefix(&self.places.datasets).ok().or(composed);
            let Some(dataset) = below.and_then(Path::to_str).and_then(crate::context::from_handle) else { continue };
            let _lock = self.locks.lock(dataset.clone()).await;
            if let Err(error) = self.sweep(&dataset).await {
                tracing::warn!(%dataset, %error, "an unused mount stays");
            }
        }
    }
}

/// Runs what makes system calls that may take a while.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    #[tokio::test]
    async fn a_dataset_whose_last_volume_went_before_its_turn_is_not_mounted_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Places { datasets: at("datasets"), composed: at("composed"), records: at("records"), run: at("run") };
        let keeper = Arc::new(Keeper::new(places, 128).unwrap());
        let dataset = DatasetName::new("ml", "imagenet");
        assert_eq!(keeper.look(&dataset).await.unwrap(), Stand::Served, "there is nothing to be done");
        let used =
            Use { path: at("target"), volume: "v".into(), namespace: "ml".into(), name: "imagenet".into(), kind: Kind::Stage };
        keeper.records.put(used).unwrap();
        let error = keeper.look(&dataset).await.unwrap_err();
        assert!(matches!(error, KeepError::NoAgent { .. }), "it would be mounted, and nobody is here who serves it: {error}");
    }
}
