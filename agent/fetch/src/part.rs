//! One ranged GET: a run of blocks from store to cache, feeding whoever waits as the bytes arrive.

use std::ops::Range;
use std::sync::Arc;

use forebay_cache::{BLOCK, Inserted};
use forebay_store::{StoreError, StoreErrorKind, StoreResult};
use futures::StreamExt;
use tokio::task::JoinHandle;

use crate::fetcher::Inner;
use crate::flight::{End, Flight};
use crate::{Class, FetchError, Remote};

/// Blocks that one GET fetches. Long enough that a request's latency is small beside its transfer, short enough
/// that many of them run in parallel on one file.
pub(crate) const PART_BLOCKS: u32 = 8;

/// Bytes of `block` in an object of `size` bytes.
pub(crate) fn block_range(block: u32, size: u64) -> Range<u64> {
    let start = u64::from(block) * BLOCK;
    start..(start + BLOCK).min(size)
}

/// Fetches `flights` (consecutive blocks). Each of them has ended when this returns, is dropped or panics, so
/// nobody waits for ever.
pub(crate) async fn fetch(inner: Arc<Inner>, remote: Arc<Remote>, class: Class, flights: Vec<Arc<Flight>>) {
    let guard = Guard { inner: &inner, remote: &remote, flights: &flights };
    if let Err(error) = stream(&inner, &remote, class, &flights).await {
        inner.stats.failed();
        guard.fail(FetchError::new(&remote.label, error));
    }
}

async fn stream(inner: &Arc<Inner>, remote: &Arc<Remote>, class: Class, flights: &[Arc<Flight>]) -> StoreResult<()> {
    let (Some(first), Some(last)) = (flights.first(), flights.last()) else { return Ok(()) };
    let size = remote.object.size();
    let range = block_range(first.block, size).start..block_range(last.block, size).end;
    // Memory before the request: a body that nobody may read yet would only hold a connection.
    first.begin(inner.budget.hold(class, first.len).await);
    inner.stats.get(class);
    let mut body = remote.store(class).get(&remote.key, &remote.version, range.clone()).await?.body;
    let mut landing: Option<JoinHandle<()>> = None;
    let mut got = 0u64;
    let mut current = 0;
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                if let Some(last) = landing {
                    let _ = last.await;
                }
                if error.kind == StoreErrorKind::Corrupt {
                    drop_landed(remote).await;
                }
                return Err(error);
            }
        };
        got += chunk.len() as u64;
        inner.stats.got(class, chunk.len() as u64);
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let Some(flight) = flights.get(current) else {
                return Err(wrong(remote, StoreErrorKind::Protocol("more bytes than the range has".into())));
            };
            let used = flight.append(rest);
            rest = &rest[used..];
            if flight.full().is_none() {
                continue;
            }
            // One block is written while the next one arrives; a second one waits for it, which holds the body
            // back when the disk is slower than the store.
            if let Some(previous) = landing.replace(land(inner, remote, flight.clone())) {
                let _ = previous.await;
            }
            current += 1;
            if let Some(next) = flights.get(current) {
                next.begin(inner.budget.hold(class, next.len).await);
            }
        }
    }
    if let Some(last) = landing {
        let _ = last.await;
    }
    if current == flights.len() {
        return Ok(());
    }
    Err(wrong(remote, StoreErrorKind::Truncated { got, expected: range.end - range.start }))
}

/// The store's checksum is of the whole object and shows a wrong byte only with the last chunk, when earlier blocks have
/// landed: none of them can be told good, so all of them go. A pin stays.
async fn drop_landed(remote: &Arc<Remote>) {
    let remote = remote.clone();
    let dropped = tokio::task::spawn_blocking(move || {
        let object = &remote.object;
        let pinned = object.is_pinned();
        object.evict();
        if pinned && let Err(error) = object.pin() {
            tracing::warn!(%error, object = ?remote, "not pinned again after its damaged bytes were dropped");
        }
    });
    if let Err(error) = dropped.await {
        tracing::error!(%error, "damaged bytes may have stayed in the cache");
    }
}

fn wrong(remote: &Remote, kind: StoreErrorKind) -> StoreError {
    StoreError::new(remote.reader.id(), "get", &remote.key, kind)
}

/// Writes a full block to the cache and ends its flight. Runs apart, because a disk may block.
fn land(inner: &Arc<Inner>, remote: &Arc<Remote>, flight: Arc<Flight>) -> JoinHandle<()> {
    let (inner, remote) = (inner.clone(), remote.clone());
    tokio::task::spawn_blocking(move || {
        let Some(bytes) = flight.full() else { return };
        let end = match remote.object.insert(flight.block, &bytes, remote.landing.clone()) {
            Inserted::Stored { .. } => End::Landed,
            Inserted::Refused(reason) => {
                inner.stats.refused();
                End::Refused(reason)
            }
        };
        inner.flights.retire(&remote.object.id(), &flight, &end);
        flight.finish(end);
    })
}

/// Ends what has not ended, whatever way the fetch is left.
struct Guard<'a> {
    inner: &'a Inner,
    remote: &'a Remote,
    flights: &'a [Arc<Flight>],
}

impl Guard<'_> {
    fn fail(&self, error: FetchError) {
        for flight in self.flights.iter().filter(|flight| flight.full().is_none()) {
            let end = End::Failed(error.clone());
            self.inner.flights.retire(&self.remote.object.id(), flight, &end);
            flight.finish(end);
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.flights.iter().any(|flight| flight.full().is_none()) {
            let kind = StoreErrorKind::Io("the fetch was given up before its end".into());
            self.fail(FetchError::new(&self.remote.label, wrong(self.remote, kind)));
        }
    }
}
