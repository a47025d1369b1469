//! What every store gets around it: retries, time limits, a concurrency bound, a bandwidth limit, verification.
//!
//! | trouble | answer |
//! |---|---|
//! | a transient error ([`StoreErrorKind::is_transient`]) | again after a random part of an exponentially growing time, bounded in count and time |
//! | a body that breaks off | resumed at the byte reached, of the same version; nothing is fetched twice |
//! | no answer | `Timeout` after `request_timeout`, then retried |
//! | a body that stops | `Timeout` after `progress_timeout` without a byte, then resumed. Only waiting for the store counts, not the reader's own pace |
//! | many failures at once | retries are paid from one budget for the whole store, so that a storm adds little load: a call waits for its share, and gives up when its time is over |
//! | too many calls | wait for a slot. Readers go first, and some slots are theirs alone |
//! | a bandwidth limit | chunks are held back. A reader's are paid first |
//! | wrong bytes | `Corrupt` at the end of the body when the range is the whole object and the store names a checksum |
//!
//! `Corrupt` and `Changed` come after bytes were handed out: use what a body gave only once it has ended well.
//! A slot is held from the request to the end of the body or until either is dropped, but not while waiting to retry.

mod bandwidth;
mod body;
mod budget;
mod limits;
mod retry;
mod slots;
mod stats;
mod verify;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::time::Instant;

pub use bandwidth::Bandwidth;
pub use limits::Limits;
pub use slots::Priority;
pub use stats::Stats;

use crate::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};

/// A store with policy around it. Cheap to clone; clones share slots, budget, bandwidth and counters, also those of
/// another [`Priority`].
#[derive(Clone)]
pub struct Resilient {
    shared: Arc<Shared>,
    priority: Priority,
}

struct Shared {
    inner: Arc<dyn UnderStore>,
    limits: Limits,
    slots: slots::Slots,
    budget: Mutex<budget::Budget>,
    bandwidth: Option<Mutex<bandwidth::Bandwidth>>,
    stats: stats::Counters,
    /// Times given to the pure parts are counted from here.
    start: Instant,
}

impl fmt::Debug for Resilient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resilient").field("inner", &self.shared.inner).field("priority", &self.priority).finish()
    }
}

impl Resilient {
    /// Wraps `inner`; the handle is a reader's.
    pub fn new(inner: Arc<dyn UnderStore>, limits: Limits) -> Self {
        let limits = limits.sane();
        let shared = Shared {
            slots: slots::Slots::new(limits.concurrency, limits.reserved_for_readers),
            budget: Mutex::new(budget::Budget::new()),
            bandwidth: limits.bandwidth.map(|rate| Mutex::new(bandwidth::Bandwidth::new(rate))),
            stats: stats::Counters::default(),
            start: Instant::now(),
            inner,
            limits,
        };
        Self { shared: Arc::new(shared), priority: Priority::Reader }
    }

    /// The same store for calls of that priority.
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { shared: self.shared.clone(), priority }
    }

    /// What this handle's calls count as.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// What has happened so far, for metrics.
    pub fn stats(&self) -> Stats {
        self.shared.stats.snapshot(self.shared.slots.used())
    }

    /// Repeats `call` until it succeeds, fails for good or may not be repeated any more. Each try has a slot and an
    /// end; the slot of the last comes with its answer.
    async fn run<T, F>(
        &self,
        attempts: &mut retry::Attempts,
        operation: &'static str,
        key: &str,
        mut call: impl FnMut() -> F,
    ) -> StoreResult<(T, slots::Slot)>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let shared = &self.shared;
        loop {
            let slot = shared.slots.take(self.priority).await;
            shared.stats.request();
            let error = match tokio::time::timeout(shared.limits.request_timeout, call()).await {
                Ok(Ok(answer)) => {
                    shared.deposit();
                    return Ok((answer, slot));
                }
                Ok(Err(error)) => error,
                Err(_) => self.timeout(operation, key, "request_timeout", shared.limits.request_timeout),
            };
            // Others may use the slot while this call waits.
            drop(slot);
            self.wait_to_retry(attempts, error).await?;
        }
    }

    fn timeout(&self, operation: &'static str, key: &str, limit: &str, time: std::time::Duration) -> StoreError {
        let error = StoreError::new(self.shared.inner.id(), operation, key, StoreErrorKind::Timeout);
        error.with_cause(format!("{limit} {time:?} passed"))
    }

    /// Returns when the failed call may be tried again; the error itself when it may not.
    async fn wait_to_retry(&self, attempts: &mut retry::Attempts, error: StoreError) -> StoreResult<()> {
        let shared = &self.shared;
        shared.stats.failure(&error.kind);
        let Some(pause) = attempts.next(&shared.limits, shared.now(), &error.kind, fastrand::f64()) else {
            return Err(error);
        };
        tokio::time::sleep(pause).await;
        loop {
            let wait = match shared.lock(&shared.budget).take(shared.now()) {
                Ok(()) => break,
                Err(wait) => wait,
            };
            if attempts.over(&shared.limits, shared.now() + wait) {
                shared.stats.over_budget();
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
        shared.stats.retry();
        tracing::debug!(%error, "retrying");
        Ok(())
    }
}

impl Shared {
    fn now(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    fn deposit(&self) {
        self.lock(&self.budget).deposit();
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        // No code panics while it holds one of these locks half-way through a change.
        mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until `bytes` more may be handed out.
    async fn pay(&self, priority: Priority, bytes: usize) {
        self.stats.bytes(bytes);
        if let Some(bandwidth) = &self.bandwidth {
            let wait = self.lock(bandwidth).take(priority, bytes, self.now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[async_trait]
impl UnderStore for Resilient {
    fn id(&self) -> &StoreId {
        self.shared.inner.id()
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        let call = || self.shared.inner.list(request.clone());
        let (page, _slot) = self.run(&mut retry::Attempts::default(), "list", &request.prefix, call).await?;
        Ok(page)
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        let call = || self.shared.inner.head(key);
        let (meta, _slot) = self.run(&mut retry::Attempts::default(), "head", key, call).await?;
        Ok(meta)
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        let mut attempts = retry::Attempts::default();
        let call = || self.shared.inner.get(key, version, range.clone());
        let (got, slot) = self.run(&mut attempts, "get", key, call).await?;
        Ok(body::resuming(self.clone(), got, slot, range, attempts))
    }
}

#[cfg(test)]
mod tests;
