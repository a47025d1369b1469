use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use forebay_cache::{BLOCK, Read};

use crate::flight::Flight;
use crate::part::block_range;
use crate::{Class, FetchError, Fetcher, Plan, Remote, Streams};

/// One object version, open for reading. Any number of readers at a time.
#[derive(Debug)]
pub struct File {
    fetcher: Fetcher,
    remote: Arc<Remote>,
    streams: Mutex<Streams>,
}

impl File {
    pub(crate) fn new(fetcher: Fetcher, remote: Remote) -> Self {
        Self { fetcher, remote: Arc::new(remote), streams: Mutex::default() }
    }

    /// What is read.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Fills `buf` from the cache, without waiting for anybody. `Some(n)`: the first `n` bytes are filled, less than
    /// `buf.len()` only at the end of the file. `None`: not all of it is cached, ask [`File::read`].
    pub fn try_read(&self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        let object = &self.remote.object;
        let want = clamp(offset, buf.len(), object.size());
        let mut done = 0;
        while done < want {
            match object.read_at(offset + done as u64, &mut buf[done..want]) {
                Read::Hit(0) | Read::Miss { .. } => return None,
                Read::Hit(n) => done += n,
            }
        }
        if want > 0 && !object.is_complete() {
            let plan = self.plan(offset, want);
            self.fetcher.launch(&self.remote, Class::Reader, plan.ahead);
        }
        Some(want)
    }

    /// The bytes `offset..offset + len`, cut at the end of the file. Waits for what is not cached; each block is
    /// fetched once however many wait for it. Cancellation-safe: what is in the air still lands for others.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, FetchError> {
        let size = self.remote.object.size();
        let want = clamp(offset, len, size);
        if want == 0 {
            return Ok(Bytes::new());
        }
        let plan = self.plan(offset, want);
        let wanted = plan.demand.start..plan.ahead.end.max(plan.demand.end);
        let flights = self.fetcher.launch(&self.remote, Class::Reader, wanted);
        let end = offset + want as u64;
        if plan.demand.len() == 1 {
            return self.piece(&flights, plan.demand.start, offset..end).await;
        }
        let mut bytes = BytesMut::with_capacity(want);
        for block in plan.demand {
            let whole = block_range(block, size);
            let part = whole.start.max(offset)..whole.end.min(end);
            bytes.extend_from_slice(&self.piece(&flights, block, part).await?);
        }
        Ok(bytes.freeze())
    }

    fn plan(&self, offset: u64, len: usize) -> Plan {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.on_read(offset, len as u64, self.remote.object.blocks(), self.fetcher.inner.config.max_ahead)
    }

    /// Bytes `range` of the file, all within `block`: from its flight among those launched for the read, else from
    /// the cache. A block that was cached at launch may have been evicted since; then it is launched again.
    async fn piece(&self, launched: &[Arc<Flight>], block: u32, range: Range<u64>) -> Result<Bytes, FetchError> {
        let base = u64::from(block) * BLOCK;
        let within = usize::try_from(range.start - base).unwrap_or(0)..usize::try_from(range.end - base).unwrap_or(0);
        if let Some(flight) = launched.iter().find(|flight| flight.block == block) {
            return flight.wait(within).await;
        }
        let object = &self.remote.object;
        let mut tries = 0;
        loop {
            let mut buf = vec![0; within.len()];
            if object.read_at(range.start, &mut buf) == Read::Hit(buf.len()) {
                return Ok(buf.into());
            }
            if let Some(flight) = self.fetcher.launch_unread(&self.remote, Class::Reader, block, &mut tries) {
                return flight.wait(within).await;
            }
        }
    }
}

/// How many of `len` bytes at `offset` lie within `size`.
fn clamp(offset: u64, len: usize, size: u64) -> usize {
    usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(len)
}
