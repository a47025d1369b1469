//! A Dataset's life: list, bring in, wait for a reason to list again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_cache::TierState;
use forebay_catalog::{Builder, BuilderConfig};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dataset::{Dataset, Filling, Inner, ListingFailure, Writing};
use crate::generation::Generation;
use crate::listing::{self, ListingError};
use crate::prefetch::Pass;
use crate::{Mount, schedule};

/// A tree is not listed again sooner than this because readers meet changed objects: one change at the store
/// makes many readers complain at once.
pub(crate) const CALM: Duration = Duration::from_secs(5);

/// How often it is looked whether all that was brought in is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Passes in a row after which what is lost each time counts as evicted by others: a damaged file comes in with the next one.
const LOSING: u32 = 4;
/// When all of this node's share has been in, or all of it that fits, for so many times what nodes are given to settle, the others have had the time
/// to come for theirs.
const HANDED_OVER: u32 = 3;
/// So many times sooner what a node keeps is taken over when it is known to go.
const HURRY: u32 = 10;
/// What is being written when a life ends has so long to be done.
const WRITTEN: Duration = Duration::from_secs(5);
/// A tier that is not known by then is broken; prefetch goes on with the others.
const RECOVERY: Duration = Duration::from_secs(300);

impl Dataset {
    /// Lives until `stop`; returns when all its work has ended.
    pub async fn run(&self, stop: CancellationToken) {
        let inner = &self.inner;
        let mut filling: Option<Fill> = None;
        let mut failures = 0u32;
        if let Some(current) = inner.generations.current() {
            inner.announce(&current);
            filling = Some(Fill::start(inner, current, &stop));
        }
        loop {
            let wait = match (failures, inner.generations.current()) {
                (0, None) => Some(Duration::ZERO),
                (0, Some(_)) => inner.settings.consistency.relist_after().map(|age| schedule::due_in(age, inner.age())),
                (failures, _) => Some(schedule::backoff(failures, jitter())),
            };
            match inner.next_event(wait, &stop).await {
                Event::Stop => break,
                Event::Released => {
                    inner.retire_unused().await;
                    continue;
                }
                Event::Answered => continue,
                Event::List => {}
            }
            let listed = tokio::select! {
                () = stop.cancelled() => break,
                listed = inner.list_once() => listed,
            };
            match listed {
                Ok(generation) => {
                    failures = 0;
                    if let Some(before) = filling.take() {
                        before.stop().await;
                    }
                    inner.announce(&generation);
                    inner.retire_unused().await;
                    filling = Some(Fill::start(inner, generation, &stop));
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    warn!(dataset = self.name(), %error, failures, "listing failed");
                    inner.state().listing_failure = Some(ListingFailure::of(self.name(), error));
                }
            }
        }
        if let Some(filling) = filling {
            filling.stop().await;
        }
        // Who opens the directory next should not find a file coming in from here. A long merge cannot be cut short, and is not waited for.
        let _ = tokio::time::timeout(WRITTEN, inner.writing.lock()).await;
    }
}

enum Event {
    Stop,
    List,
    Answered,
    Released,
}

impl Inner {
    /// Waits for a reason to act, for `wait` at most; `None` is for ever.
    async fn next_event(&self, wait: Option<Duration>, stop: &CancellationToken) -> Event {
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let stale = async {
            self.stale.notified().await;
            let unheard = Unheard(Some(&self.stale));
            tokio::time::sleep(CALM.saturating_sub(self.age())).await;
            unheard.heard();
        };
        let (due, stale) = (pin!(due), pin!(stale));
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            () = self.wishes.wait() => match self.wishes.open() {
                Some(_) => Event::List,
                // A listing that began since has answered it.
                None => Event::Answered,
            },
            () = due => Event::List,
            () = stale => {
                self.wishes.make(None);
                Event::List
            }
            () = self.released.notified() => Event::Released,
        }
    }

    /// Makes a new generation the current one: another node's that does, or what the stores list now.
    async fn list_once(self: &Arc<Self>) -> Result<Arc<Generation>, ListingError> {
        let number = self.generations.next_number();
        self.listed.store(0, Ordering::Relaxed);
        let (answer, fresh) = (self.wishes.answer(), self.how_fresh());
        self.state().listing = true;
        let writing: Writing = Arc::new(self.writing.clone().lock_owned().await);
        let listed = match self.take_from_others(number, &fresh, writing.clone()).await {
            Some(generation) => Ok(generation),
            None => {
                self.listed.store(0, Ordering::Relaxed);
                self.list_into(number, writing).await
            }
        };
        self.state().listing = false;
        let generation = listed?;
        self.wishes.answered(answer);
        let info = generation.catalog.info();
        self.state().listing_failure = None;
        self.failed_reads.reset();
        info!(dataset = self.settings.name, generation = number, files = info.files, bytes = info.bytes, "listed");
        Ok(generation)
    }

    async fn list_into(&self, number: u32, writing: Writing) -> Result<Arc<Generation>, ListingError> {
        let config = BuilderConfig {
            dataset: self.settings.name.clone(),
            generation: u64::from(number),
            listed_at_ns: schedule::nanoseconds(SystemTime::now()),
            mounts: self.mounts.iter().map(Mount::spec).collect(),
            memory: self.settings.listing_memory,
        };
        let builder = Builder::new(self.generations.dir(), config)?;
        let path = self.generations.path(number);
        let catalog = listing::list(&self.mounts, builder, &path, &self.listed, writing).await?;
        self.expect_fill();
        Ok(self.generations.install(catalog, number)?)
    }

    /// What is wanted ahead of a new generation is not in yet: nobody may see it Ready before its prefetch began.
    pub(crate) fn expect_fill(&self) {
        let wanted = !(self.settings.pins.is_empty() && self.settings.prefetch.paths.is_empty());
        self.state().filling = if wanted { Filling::Running } else { Filling::Idle };
    }

    /// Waits until something of a complete plan is lost: damaged on the disk, or evicted by others.
    async fn wait_for_loss(self: &Arc<Self>, generation: &Arc<Generation>) {
        loop {
            // Sums tell cheaply that nothing is lost; only else is the whole plan looked at. Where nodes share the data, what others keep
            // is in the sums too.
            let told_by_sums = self.share.is_none();
            tokio::time::sleep(if told_by_sums { LOOK_AGAIN } else { 6 * LOOK_AGAIN }).await;
            let planned = self.prefetch.total_bytes.load(Ordering::Relaxed);
            if !(told_by_sums && self.cached_bytes() >= planned) && self.anything_missing(generation).await {
                return;
            }
        }
    }

    /// Waits until other nodes than those `among` which this one brought in its share keep the data for good. What only others keep now is
    /// unpinned when they have had the time to come for it, and where this node's share did not fit beside it, it is brought in then.
    async fn wait_for_move(
        self: &Arc<Self>,
        members: &mut watch::Receiver<u64>,
        among: Option<u64>,
        generation: &Arc<Generation>,
    ) {
        let (filling, settle) =
            (self.state().filling.clone(), self.share.as_ref().map_or(Duration::ZERO, |share| share.settle()));
        let handed_over = self.share_in_since(among) + HANDED_OVER * settle;
        let (mut keeps_others, mut made_room) = (true, false);
        loop {
            if Some(*members.borrow_and_update()) != among {
                self.state().filling = Filling::Moving;
                let urgent = self.share.as_ref().is_some_and(|share| share.is_urgent());
                tokio::time::sleep(if urgent { settle / HURRY } else { settle }).await;
                if Some(*members.borrow_and_update()) != among {
                    info!(dataset = self.settings.name, "nodes have come or gone: what this one keeps now is brought in");
                    return;
                }
                self.state().filling = filling.clone();
            }
            if made_room {
                return;
            }
            let changed = match keeps_others {
                true => {
                    let left = handed_over.saturating_duration_since(Instant::now());
                    tokio::time::timeout(left.max(settle / HURRY), members.changed()).await
                }
                false => Ok(members.changed().await),
            };
            match changed {
                Ok(Ok(())) => {}
                // The agent ends.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) if self.share.as_ref().is_some_and(|share| share.is_leaving()) => {}
                Err(_) => {
                    let dropped = self.drop_old_pins(generation, true).await;
                    made_room = self.drop_stray_pins().await || (dropped && matches!(filling, Filling::DoesNotFit(_)));
                    keeps_others = false;
                }
            }
        }
    }

    /// Since when this node's share among these others has been in, as far as it fits: from now on, if it was not yet.
    fn share_in_since(&self, among: Option<u64>) -> Instant {
        let mut state = self.state();
        let known = state.share_in.filter(|(others, _)| Some(*others) == among);
        let (_, since) = known.unwrap_or((among.unwrap_or_default(), Instant::now()));
        state.share_in = among.map(|among| (among, since));
        since
    }

    /// After a kill the cache takes nothing new until it knows what it holds: what is fetched before is thrown away.
    async fn wait_for_recovery(&self) {
        let recovering = || self.cache.health().iter().any(|tier| tier.state == TierState::Recovering);
        let until = Instant::now() + RECOVERY;
        while recovering() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Passes over the plan until all that fits is in.
    async fn fill(self: Arc<Self>, generation: Arc<Generation>) {
        self.wait_for_recovery().await;
        let mut members = self.share.as_ref().map(|share| share.members());
        if let Some(members) = &mut members {
            // Nobody knows its share before it knows the others.
            let _ = members.wait_for(|members| *members != 0).await;
        }
        self.drop_old_pins(&generation, false).await;
        let (mut attempt, mut losing, mut swept) = (0, 0, self.share.is_some());
        loop {
            self.state().filling = Filling::Running;
            let among = members.as_mut().map(|members| *members.borrow_and_update());
            let mut pass = self.bring_in(&generation).await;
            self.passes.send_modify(|passes| *passes += 1);
            if let Pass::Lost(lost) = pass {
                losing += 1;
                if losing == LOSING {
                    pass = Pass::DoesNotFit(format!("{lost} files were evicted again by others"));
                }
            } else {
                losing = 0;
            }
            self.state().filling = match &pass {
                Pass::Nothing => Filling::Idle,
                Pass::Complete => Filling::Complete,
                Pass::DoesNotFit(why) => Filling::DoesNotFit(why.clone()),
                Pass::Failed => Filling::Retrying,
                Pass::Lost(_) => Filling::Running,
            };
            match pass {
                Pass::Lost(_) => tokio::time::sleep(schedule::backoff(losing, jitter())).await,
                Pass::Failed => {
                    attempt += 1;
                    tokio::time::sleep(schedule::backoff(attempt, jitter())).await;
                }
                Pass::DoesNotFit(why) => {
                    warn!(dataset = self.settings.name, why, "prefetch is not complete");
                    let Some(members) = &mut members else { return };
                    self.wait_for_move(members, among, &generation).await;
                    (attempt, losing) = (0, 0);
                }
                Pass::Complete => {
                    // Where nodes share the data, what others are to have first is pinned too.
                    if !std::mem::replace(&mut swept, true) && self.drop_stray_pins().await {
                        continue;
                    }
                    let moved = async {
                        match &mut members {
                            Some(members) => self.wait_for_move(members, among, &generation).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = self.wait_for_loss(&generation) => {}
                        () = moved => {}
                    }
                    attempt = 0;
                }
                Pass::Nothing => return,
            }
        }
    }
}

/// Gives a notification back when the wait that took it is cut short by another event.
struct Unheard<'a>(Option<&'a Notify>);

impl Unheard<'_> {
    fn heard(mut self) {
        self.0 = None;
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(notify) = self.0 {
            notify.notify_one();
        }
    }
}

/// Prefetch of one generation, on a task of its own.
struct Fill {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fill {
    fn start(inner: &Arc<Inner>, generation: Arc<Generation>, stop: &CancellationToken) -> Self {
        let stop = stop.child_token();
        let (inner, stopped) = (inner.clone(), stop.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = inner.fill(generation) => {}
            }
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Between 0 and 1, different on every node and at every call: the clock's fraction of a millisecond is enough for
/// spreading retries.
fn jitter() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1_000_000) / 1_000_000.0
}
