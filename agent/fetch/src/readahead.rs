//! Which blocks a read asks for, and which it will ask for next: pure.

use std::ops::Range;

use forebay_cache::BLOCK;

/// Streams told apart in one file; a ninth takes the place of the one that was idle the longest.
const STREAMS: usize = 8;
/// A read this near to a stream's end continues it: the kernel sends read-ahead requests in parallel, so they
/// come out of order.
const SLACK: u64 = 2 * BLOCK;
/// The first window of a stream that begins at the file's start, in blocks.
const FIRST: u32 = 4;
/// By how much a window grows when it was used up.
const GROWTH: u32 = 4;

/// What one read makes needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Blocks that the read itself touches.
    pub demand: Range<u32>,
    /// Blocks to start now because a sequential reader will want them; empty when there is no need.
    pub ahead: Range<u32>,
}

/// The sequential readers of one file.
///
/// A stream's window grows fourfold each time it is used up, from four blocks to the bound, and a new batch starts when
/// half a window is left, so that requests go out in batches and the pipe never runs dry. Fourfold, because each step costs the reader
/// a wait for a store that is far away, and never more is asked for in vain than four times what was read.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    streams: Vec<Stream>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Stream {
    /// End of the furthest read, in bytes.
    next: u64,
    /// First block not asked for yet.
    reached: u32,
    /// Blocks to keep asked for ahead of `next`.
    window: u32,
    used: u64,
}

impl Streams {
    /// Takes note of a read of `len > 0` bytes at `offset` in a file of `blocks` blocks, of which at most `bound`
    /// may be ahead of a reader.
    pub fn on_read(&mut self, offset: u64, len: u64, blocks: u32, bound: u32) -> Plan {
        self.clock += 1;
        let end = offset.saturating_add(len);
        let demand = block_at(offset).min(blocks)..block_at(end.saturating_sub(1)).saturating_add(1).min(blocks);
        let Some(index) = self.continued_by(offset) else {
            let window = if offset == 0 { FIRST.min(bound) } else { 0 };
            let reached = demand.end.saturating_add(window).min(blocks);
            self.add(Stream { next: end, reached, window, used: self.clock });
            return Plan { ahead: demand.end..reached, demand };
        };
        let stream = &mut self.streams[index];
        stream.used = self.clock;
        stream.next = stream.next.max(end);
        let front = block_at(stream.next.saturating_sub(1)).saturating_add(1).min(blocks);
        stream.reached = stream.reached.max(front);
        if stream.reached - front > stream.window / 2 || stream.reached >= blocks {
            return Plan { ahead: front..front, demand };
        }
        stream.window = stream.window.saturating_mul(GROWTH).max(FIRST).min(bound);
        let from = stream.reached;
        stream.reached = front.saturating_add(stream.window).clamp(from, blocks);
        Plan { demand, ahead: from..stream.reached }
    }

    fn continued_by(&self, offset: u64) -> Option<usize> {
        let near = |stream: &Stream| offset <= stream.next.saturating_add(SLACK) && offset.saturating_add(SLACK) >= stream.next;
        self.streams.iter().position(near)
    }

    fn add(&mut self, stream: Stream) {
        if self.streams.len() < STREAMS {
            self.streams.push(stream);
        } else if let Some(oldest) = self.streams.iter_mut().min_by_key(|s| s.used) {
            *oldest = stream;
        }
    }
}

fn block_at(offset: u64) -> u32 {
    u32::try_from(offset / BLOCK).unwrap_or(u32::MAX)
}
