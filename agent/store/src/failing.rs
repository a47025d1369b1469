//! The failing twin: wraps any store and makes it misbehave on command, and counts what it was asked for.

mod body;
mod plan;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

pub use plan::{Fault, Gate, Rule, Seeded};

use crate::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};

/// A call of [`UnderStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`UnderStore::list`]; its key is the prefix.
    List,
    /// [`UnderStore::head`].
    Head,
    /// [`UnderStore::get`].
    Get,
}

impl Op {
    /// The operation as errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Op::List => "list",
            Op::Head => "head",
            Op::Get => "get",
        }
    }
}

/// Wraps a store; without rules it behaves exactly like the store inside.
#[derive(Debug)]
pub struct FailingStore {
    inner: Arc<dyn UnderStore>,
    plan: Mutex<plan::Plan>,
    counts: Arc<Mutex<Counts>>,
}

/// What was asked for so far. Grows with each call: meant for tests, not for production.
#[derive(Debug, Default)]
struct Counts {
    calls: HashMap<(Op, String), u64>,
    ranges: HashMap<String, Vec<Range<u64>>>,
    delivered: u64,
    in_flight: usize,
    peak: usize,
}

impl FailingStore {
    /// Wraps `inner`, with no faults yet.
    pub fn new(inner: Arc<dyn UnderStore>) -> Self {
        Self { inner, plan: Mutex::default(), counts: Arc::default() }
    }

    /// Adds a rule; among several that match a call, the one added first and not yet used up acts.
    pub fn inject(&self, rule: Rule) {
        lock(&self.plan).rules.push(rule);
    }

    /// Replaces random faults; they act on calls that no rule matches. `None` turns them off.
    pub fn set_seeded(&self, seeded: Option<Seeded>) {
        lock(&self.plan).seeded = seeded;
    }

    /// Drops all rules and random faults: the store is healthy again. Calls already stalled stay so.
    pub fn heal(&self) {
        *lock(&self.plan) = plan::Plan::default();
    }

    /// Calls of one operation on one key (a prefix for `List`).
    pub fn calls(&self, op: Op, key: &str) -> u64 {
        lock(&self.counts).calls.get(&(op, key.to_owned())).copied().unwrap_or(0)
    }

    /// Calls of one operation on all keys.
    pub fn total(&self, op: Op) -> u64 {
        lock(&self.counts).calls.iter().filter(|((of, _), _)| *of == op).map(|(_, calls)| calls).sum()
    }

    /// The ranges asked of a key, in order of the calls.
    pub fn ranges(&self, key: &str) -> Vec<Range<u64>> {
        lock(&self.counts).ranges.get(key).cloned().unwrap_or_default()
    }

    /// Bytes asked for by all `get` calls.
    pub fn bytes_requested(&self) -> u64 {
        lock(&self.counts).ranges.values().flatten().map(|range| range.end - range.start).sum()
    }

    /// Bytes that bodies have handed out.
    pub fn bytes_delivered(&self) -> u64 {
        lock(&self.counts).delivered
    }

    /// Calls and bodies alive now; dropped ones do not count.
    pub fn in_flight(&self) -> usize {
        lock(&self.counts).in_flight
    }

    /// The most calls and bodies that were alive at once.
    pub fn peak_in_flight(&self) -> usize {
        lock(&self.counts).peak
    }

    /// Forgets calls, ranges, bytes and the peak.
    pub fn reset_counts(&self) {
        let mut counts = lock(&self.counts);
        *counts = Counts { in_flight: counts.in_flight, peak: counts.in_flight, ..Counts::default() };
    }

    /// Counts the call and carries out the part of its fault that comes before an answer.
    async fn enter(&self, op: Op, key: &str, range: Option<&Range<u64>>) -> StoreResult<(Flight, Option<Fault>)> {
        let flight = Flight::start(self.counts.clone(), op, key, range);
        let fault = lock(&self.plan).next(op, key);
        match fault {
            Some(Fault::Error(kind)) => {
                let error = StoreError::new(self.inner.id(), op.name(), key, kind);
                Err(error.with_cause("injected"))
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Latency(time)) => {
                tokio::time::sleep(time).await;
                Ok((flight, None))
            }
            Some(Fault::Wait(gate)) => {
                gate.wait().await;
                Ok((flight, None))
            }
            body => Ok((flight, body)),
        }
    }
}

/// One call or body alive; counted out when dropped.
#[derive(Debug)]
struct Flight(Arc<Mutex<Counts>>);

impl Flight {
    fn start(counts: Arc<Mutex<Counts>>, op: Op, key: &str, range: Option<&Range<u64>>) -> Self {
        let mut now = lock(&counts);
        *now.calls.entry((op, key.to_owned())).or_default() += 1;
        if let Some(range) = range {
            now.ranges.entry(key.to_owned()).or_default().push(range.clone());
        }
        now.in_flight += 1;
        now.peak = now.peak.max(now.in_flight);
        drop(now);
        Self(counts)
    }

    fn delivered(&self, bytes: usize) {
        lock(&self.0).delivered += bytes as u64;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.0).in_flight -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code panics while it holds one of these locks half-way through a change.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[async_trait]
impl UnderStore for FailingStore {
    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        let (_flight, _) = self.enter(Op::List, &request.prefix, None).await?;
        self.inner.list(request).await
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        let (_flight, _) = self.enter(Op::Head, key, None).await?;
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        let (flight, fault) = self.enter(Op::Get, key, Some(&range)).await?;
        let mut got = self.inner.get(key, version, range.clone()).await?;
        let id = self.inner.id().clone();
        let key = key.to_owned();
        let error = move |kind: StoreErrorKind| StoreError::new(&id, "get", &key, kind).with_cause("injected");
        got.body = body::spoil(got.body, range.end - range.start, fault, flight, error);
        Ok(got)
    }
}

/// A store that answers each call after `time`: for tests of concurrency and progress.
pub fn slow(inner: Arc<dyn UnderStore>, time: Duration) -> FailingStore {
    let store = FailingStore::new(inner);
    store.inject(Rule::always(Fault::Latency(time)));
    store
}

#[cfg(test)]
mod tests;
