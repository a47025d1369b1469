//! A range of an object as a stream of bytes, for whoever passes them on.

use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use forebay_cache::{BLOCK, Object, Read};
use forebay_store::{StoreError, StoreErrorKind};
use futures::Stream;

use crate::flight::Flight;
use crate::part::block_range;
use crate::{Class, FetchError, Fetcher, Remote};

/// Most bytes of one piece.
const PIECE: u64 = 256 << 10;

impl Fetcher {
    /// The bytes `range` of an object (within its size), in order, in pieces that end with each block. What is cached comes from the cache,
    /// compared once more with its checksum, for a disk that lies must not lie to all nodes; all that is missing is on its way from the first
    /// poll on, is passed on while it arrives, and lands as for any other reader. Without a `class` nothing is brought in, nor waited for: the
    /// stream breaks off at what is not cached.
    /// Holds one block in memory at most; a stream that is not polled on holds nothing else.
    pub fn stream(
        &self,
        remote: Remote,
        class: Option<Class>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static {
        let start = Pieces {
            fetcher: self.clone(),
            remote: Arc::new(remote),
            class,
            at: range.start,
            end: range.end,
            launched: None,
            read: None,
        };
        futures::stream::try_unfold(start, |mut pieces| async move {
            if pieces.at >= pieces.end {
                return Ok(None);
            }
            let piece = pieces.next().await?;
            pieces.at += piece.len() as u64;
            Ok(Some((piece, pieces)))
        })
    }
}

struct Pieces {
    fetcher: Fetcher,
    remote: Arc<Remote>,
    class: Option<Class>,
    at: u64,
    end: u64,
    /// Flights of the range. Weak: a receiver that is slow must not keep blocks in memory that are cached by now.
    launched: Option<Vec<(u32, Weak<Flight>)>>,
    /// What of the range lies in the block that was read last, and where that begins.
    read: Option<(u64, Bytes)>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Bytes, FetchError> {
        let block = u32::try_from(self.at / BLOCK).unwrap_or(u32::MAX);
        let whole = block_range(block, self.remote.object.size());
        let range = self.at..whole.end.min(self.end).min(self.at + PIECE);
        let base = whole.start;
        let within = usize::try_from(range.start - base).unwrap_or(0)..usize::try_from(range.end - base).unwrap_or(0);
        if let (None, Some(class)) = (&self.launched, self.class) {
            let blocks = block..u32::try_from(self.end.div_ceil(BLOCK)).unwrap_or(u32::MAX);
            let flights = self.fetcher.launch(&self.remote, class, blocks);
            self.launched = Some(flights.iter().map(|flight| (flight.block, Arc::downgrade(flight))).collect());
        }
        let launched = self.launched.iter().flatten().find(|(of, _)| *of == block).and_then(|(_, flight)| flight.upgrade());
        if let Some(flight) = launched {
            return flight.wait(within).await;
        }
        let mut tries = 0;
        loop {
            if let Some(piece) = self.piece_of_read(&range) {
                return Ok(piece);
            }
            // All that is wanted of the block: its checksum takes reading it whole.
            let rest = self.at..whole.end.min(self.end);
            if let Some(bytes) = read(self.remote.object.clone(), rest).await {
                self.read = Some((self.at, bytes));
                continue;
            }
            // Evicted since, never taken by the cache, or not to be read now.
            let class = self.class.ok_or_else(|| self.not_cached())?;
            if let Some(flight) = self.fetcher.launch_unread(&self.remote, class, block, &mut tries) {
                return flight.wait(within).await;
            }
        }
    }

    fn not_cached(&self) -> FetchError {
        let Remote { reader, key, label, .. } = &*self.remote;
        let error = StoreError::new(reader.id(), "get", key, StoreErrorKind::Unavailable);
        FetchError::new(label, error.with_cause("it is not cached any more"))
    }

    /// What was read already of the block that was read last.
    fn piece_of_read(&self, range: &Range<u64>) -> Option<Bytes> {
        let (start, bytes) = self.read.as_ref()?;
        let within = |at: u64| usize::try_from(at.checked_sub(*start)?).ok().filter(|at| *at <= bytes.len());
        Some(bytes.slice(within(range.start)?..within(range.end)?))
    }
}

/// Reads from the cache, on a thread that may wait for a disk.
async fn read(object: Object, range: Range<u64>) -> Option<Bytes> {
    let read = tokio::task::spawn_blocking(move || {
        let mut buf = vec![0; usize::try_from(range.end - range.start).ok()?];
        (object.read_checked_at(range.start, &mut buf) == Read::Hit(buf.len())).then(|| Bytes::from(buf))
    });
    read.await.ok().flatten()
}
