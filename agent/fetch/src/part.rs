//! One ranged GET: a run of blocks from store to cache, feeding whoever waits as the bytes arrive.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use forebay_cache::BLOCK;
use forebay_store::{ByteStream, ObjectVersion, StoreError, StoreErrorKind, StoreResult, Tally};
use futures::StreamExt;

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

/// How often bytes that prove wrong before anybody has seen them are asked for again.
const WRONG_BYTES: u32 = 2;

/// Fetches `flights` (consecutive blocks). Each of them has ended, or is on its way into the cache and ends there, when this
/// returns, is dropped or panics, so nobody waits for ever.
pub(crate) async fn fetch(inner: Arc<Inner>, remote: Arc<Remote>, class: Class, flights: Vec<Arc<Flight>>) {
    let tally = Arc::default();
    let mut part = Part { inner: &inner, remote: &remote, class, waits_for_peers: false, tally, waiting: flights.into() };
    let ended = part.run().await;
    part.count(0);
    if let Err(error) = ended {
        inner.stats.failed();
        part.fail(&FetchError::new(&remote.label, error));
    }
}

/// One GET at work.
struct Part<'a> {
    inner: &'a Arc<Inner>,
    remote: &'a Arc<Remote>,
    class: Class,
    /// Another node may have to answer first.
    waits_for_peers: bool,
    tally: Arc<Tally>,
    /// Flights whose bytes are not all there. One that is complete is let go, and its memory with the last reader.
    waiting: VecDeque<Arc<Flight>>,
}

impl Part<'_> {
    async fn run(&mut self) -> StoreResult<()> {
        let (Some(first), Some(last)) = (self.waiting.front(), self.waiting.back()) else { return Ok(()) };
        let size = self.remote.object.size();
        let range = block_range(first.block, size).start..block_range(last.block, size).end;
        let object = ObjectVersion { key: &self.remote.key, version: &self.remote.version, size };
        let store = self.remote.store(self.class);
        self.waits_for_peers = store.may_wait_for_peers(object, &range);
        // Memory before the request: a body that nobody may read yet would only hold a connection. A whole object may
        // have to be held until it is verified, so it takes all its memory at once: bit by bit, objects that each
        // hold a part could wait for each other for ever.
        let whole = range == (0..size);
        let ready = if whole { self.waiting.len() } else { 1 };
        self.begin(ready).await;
        let mut tries = 0;
        loop {
            let got = store.get_object(object, range.clone(), &self.tally).await?;
            self.count(0);
            if !whole || got.checksum.is_none() {
                return self.stream(got.body, range, ready).await;
            }
            match self.gather(got.body, &range).await {
                Err(error) if error.kind == StoreErrorKind::Corrupt && tries < WRONG_BYTES => {
                    tries += 1;
                    tracing::warn!(object = ?self.remote, %error, "wrong bytes came; nobody has seen them, and they are asked for again");
                    self.waiting.iter().for_each(|flight| flight.restart(&self.inner.pool));
                }
                ended => return ended,
            }
        }
    }

    /// Takes the memory of the first `flights` of those that wait.
    async fn begin(&self, flights: usize) {
        let flights: Vec<_> = self.waiting.iter().take(flights).collect();
        let lens: Vec<_> = flights.iter().map(|flight| flight.len).collect();
        let permits = self.inner.budget.hold(self.class, self.waits_for_peers, &lens).await;
        for (flight, permit) in flights.into_iter().zip(permits) {
            flight.begin(permit, &self.inner.pool);
        }
    }

    /// Takes in a whole object that the store's checksum vouches for only at the end: no byte of it is shown before.
    async fn gather(&mut self, mut body: ByteStream, range: &Range<u64>) -> StoreResult<()> {
        self.waiting.iter().for_each(|flight| flight.hold());
        let mut got = 0u64;
        let mut current = 0;
        // The last chunk comes only if the checksum of all holds, so that nothing is to be waited for behind it.
        while current < self.waiting.len() {
            let Some(chunk) = body.next().await else { break };
            let chunk = chunk?;
            got += chunk.len() as u64;
            self.count(chunk.len() as u64);
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let Some(flight) = self.waiting.get(current) else { return Err(self.too_long()) };
                rest = &rest[flight.append(rest)..];
                if flight.is_full() {
                    current += 1;
                }
            }
        }
        if current < self.waiting.len() {
            return Err(self.truncated(got, range));
        }
        let flights: Vec<_> = self.waiting.drain(..).collect();
        flights.iter().for_each(|flight| flight.show());
        self.inner.land(self.remote, flights);
        Ok(())
    }

    /// Shows and stores the bytes as they come. `begun`: flights that have their memory.
    async fn stream(&mut self, mut body: ByteStream, range: Range<u64>, begun: usize) -> StoreResult<()> {
        let mut landing = Landing(None);
        let mut begun = begun;
        let mut got = 0u64;
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    landing.wait().await;
                    return Err(error);
                }
            };
            got += chunk.len() as u64;
            self.count(chunk.len() as u64);
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let Some(flight) = self.waiting.front() else { return Err(self.too_long()) };
                rest = &rest[flight.append(rest)..];
                if !flight.is_full() {
                    continue;
                }
                // One block is written while the next one arrives; a second one waits for it, which holds the body
                // back when the disk is slower than the store.
                landing.wait().await;
                landing.0 = self.waiting.pop_front().inspect(|flight| self.inner.land(self.remote, vec![flight.clone()]));
                begun -= 1;
                if begun == 0 && !self.waiting.is_empty() {
                    self.begin(1).await;
                    begun = 1;
                }
            }
        }
        landing.wait().await;
        if self.waiting.is_empty() { Ok(()) } else { Err(self.truncated(got, &range)) }
    }

    /// Counts what came, and what was asked for since it was last counted.
    fn count(&self, bytes: u64) {
        self.inner.stats.got(self.class, bytes, self.tally.take());
    }

    fn too_long(&self) -> StoreError {
        wrong(self.remote, StoreErrorKind::Protocol("more bytes than the range has".into()))
    }

    fn truncated(&self, got: u64, range: &Range<u64>) -> StoreError {
        wrong(self.remote, StoreErrorKind::Truncated { got, expected: range.end - range.start })
    }

    /// Ends what has not ended. All leave the table before the first is told: who then asks anew joins none of them.
    fn fail(&mut self, error: &FetchError) {
        let end = End::Failed(error.clone());
        for flight in &self.waiting {
            self.inner.flights.retire(&self.remote.object.id(), flight, &end);
        }
        for flight in self.waiting.drain(..) {
            flight.finish(end.clone());
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.waiting.is_empty() {
            let kind = StoreErrorKind::Io("the fetch was given up before its end".into());
            self.fail(&FetchError::new(&self.remote.label, wrong(self.remote, kind)));
        }
    }
}

/// The block that is being written, if one is.
struct Landing(Option<Arc<Flight>>);

impl Landing {
    async fn wait(&mut self) {
        if let Some(writing) = self.0.take() {
            let _ = writing.ended().await;
        }
    }
}

fn wrong(remote: &Remote, kind: StoreErrorKind) -> StoreError {
    StoreError::new(remote.reader.id(), "get", &remote.key, kind)
}
