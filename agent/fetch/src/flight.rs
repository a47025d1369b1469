//! Blocks on their way: one [`Flight`] per block however many wait for it, in a table of all ([`Flights`]).

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_cache::{ObjectId, Reason};
use tokio::sync::Notify;

use crate::FetchError;
use crate::budget::Held;
use crate::buffer::{Buffer, Pool};

/// How a flight ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// In the cache.
    Landed,
    /// Complete, and the cache did not take it.
    Refused(Reason),
    /// The bytes did not come.
    Failed(FetchError),
}

/// One block between store and cache. Bytes `0..filled` never change once there, so readers copy from the front
/// while the tail is still arriving.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) block: u32,
    pub(crate) len: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What has arrived, until it is all there. None before the memory for it is there.
    partial: Option<Buffer>,
    /// The least number of bytes that somebody waits for. A chunk is a small part of what a read asks for, so waking all at each
    /// would wake each of them in vain many times.
    wanted: Option<usize>,
    /// The whole block; cheap to share from then on.
    full: Option<Bytes>,
    /// Nobody may see the bytes yet: they are not verified.
    held: bool,
    end: Option<End>,
    ended_at: Option<Instant>,
    memory: Option<Held>,
}

impl Flight {
    pub(crate) fn new(block: u32, len: usize) -> Self {
        Self { block, len, state: Mutex::default(), wake: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the memory that the bytes may use from now on.
    pub(crate) fn begin(&self, memory: Option<Held>, pool: &Pool) {
        let buffer = Buffer::new(pool, self.len);
        let mut state = self.state();
        state.partial = Some(buffer);
        state.memory = memory;
    }

    /// Adds bytes; returns how many of `chunk` belonged to this block.
    pub(crate) fn append(&self, chunk: &[u8]) -> usize {
        let mut state = self.state();
        let Some(buffer) = &mut state.partial else { return 0 };
        let take = buffer.add(chunk);
        let filled = buffer.filled();
        if filled == self.len {
            state.full = state.partial.take().map(Buffer::share);
        }
        let enough = state.full.is_some() || state.wanted.is_some_and(|wanted| filled >= wanted);
        let tell = enough && !state.held;
        if tell {
            state.wanted = None;
        }
        drop(state);
        if tell {
            self.wake.notify_waiters();
        }
        take
    }

    /// Keeps the bytes that come from now on from readers, until [`Flight::show`].
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Lets readers see what was held.
    pub(crate) fn show(&self) {
        self.state().held = false;
        self.wake.notify_waiters();
    }

    /// Forgets the bytes of a held flight, which prove wrong. It is held no more: what comes next may be verified otherwise.
    pub(crate) fn restart(&self, pool: &Pool) {
        let mut state = self.state();
        state.held = false;
        // Nobody has seen what was full, so its memory is free again before other is taken.
        state.full = None;
        match &mut state.partial {
            Some(buffer) => buffer.clear(),
            none => *none = Some(Buffer::new(pool, self.len)),
        }
    }

    /// Whether all bytes are there.
    pub(crate) fn is_full(&self) -> bool {
        self.state().full.is_some()
    }

    /// The whole block once it is there.
    pub(crate) fn full(&self) -> Option<Bytes> {
        self.state().full.clone()
    }

    /// Ends the flight, first end wins, and gives its memory permit back.
    pub(crate) fn finish(&self, end: End) {
        let mut state = self.state();
        if state.end.is_none() {
            (state.end, state.ended_at) = (Some(end), Some(Instant::now()));
        }
        state.memory = None;
        drop(state);
        self.wake.notify_waiters();
    }

    /// Of one that the cache refused, at least `ago`, the same block once more, to be offered again in memory that `hold` gives.
    pub(crate) fn again(&self, ago: Duration, hold: impl FnOnce(usize) -> Option<Held>) -> Option<Self> {
        let state = self.state();
        let is_due = matches!(state.end, Some(End::Refused(_))) && state.ended_at.is_some_and(|at| at.elapsed() >= ago);
        let full = state.full.clone().filter(|_| is_due)?;
        let state = State { full: Some(full), memory: Some(hold(self.len)?), ..State::default() };
        Some(Self { block: self.block, len: self.len, state: Mutex::new(state), wake: Notify::new() })
    }

    /// Waits until `range` of the block is there, or the flight failed. Cancellation-safe.
    pub(crate) async fn wait(&self, range: Range<usize>) -> Result<Bytes, FetchError> {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(full) = state.full.as_ref().filter(|_| !state.held) {
                    return Ok(full.slice(range));
                }
                let there = state.partial.as_ref().and_then(|buffer| buffer.as_ref().get(range.clone()));
                if let Some(there) = there.filter(|_| !state.held) {
                    return Ok(Bytes::copy_from_slice(there));
                }
                if let Some(End::Failed(error)) = &state.end {
                    return Err(error.clone());
                }
                // Those who are woken before they have enough come by here again, so that the next least is known.
                state.wanted = Some(state.wanted.map_or(range.end, |wanted| wanted.min(range.end)));
            }
            woken.await;
        }
    }

    /// Waits until the flight has ended. Cancellation-safe.
    pub(crate) async fn ended(&self) -> End {
        loop {
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if let Some(end) = &self.state().end {
                return end.clone();
            }
            woken.await;
        }
    }
}

type Name = (ObjectId, u32);
type Shard = HashMap<Name, Arc<Flight>>;

/// Every flight in the air, and the last few that the cache refused.
///
/// A refused block stays for a while because a reader takes it in pieces smaller than a block: without that each
/// piece would fetch the block again.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: Box<[Mutex<Shard>]>,
    lingering: Mutex<VecDeque<(ObjectId, Weak<Flight>)>>,
    linger: usize,
}

const SHARDS: usize = 64;

impl Flights {
    /// `linger`: how many refused blocks are kept.
    pub(crate) fn new(linger: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), lingering: Mutex::default(), linger }
    }

    /// The table's part that holds all blocks of an object.
    pub(crate) fn shard(&self, id: &ObjectId) -> MutexGuard<'_, Shard> {
        let shard = usize::from(id.0[0]) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an ended flight out of the table; a refused one lingers.
    pub(crate) fn retire(&self, id: &ObjectId, flight: &Arc<Flight>, end: &End) {
        let name = (*id, flight.block);
        if !matches!(end, End::Refused(_)) {
            self.shard(id).remove(&name);
            return;
        }
        let oldest = {
            let mut lingering = self.lingering.lock().unwrap_or_else(PoisonError::into_inner);
            lingering.push_back((*id, Arc::downgrade(flight)));
            if lingering.len() > self.linger { lingering.pop_front() } else { None }
        };
        let Some((id, oldest)) = oldest.and_then(|(id, oldest)| Some((id, oldest.upgrade()?))) else { return };
        let (mut shard, name) = (self.shard(&id), (id, oldest.block));
        // Not one that was offered again in its place since.
        if shard.get(&name).is_some_and(|there| Arc::ptr_eq(there, &oldest)) {
            shard.remove(&name);
        }
    }

    /// How many flights are in the table, for metrics and tests.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;
    use crate::budget::Budget;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn full(flights: &Flights, id: ObjectId, block: u32) -> Arc<Flight> {
        let flight = Arc::new(Flight::new(block, 1));
        flight.begin(None, &Pool::default());
        flight.append(&[7]);
        flights.shard(&id).insert((id, block), flight.clone());
        flight
    }

    /// The same of a flight, to be offered again in memory of which there is enough.
    fn again(flight: &Flight, ago: Duration) -> Option<Flight> {
        flight.again(ago, |len| Budget::new(0, 0, len).hold_again(len))
    }

    #[test]
    fn no_more_refused_blocks_linger_than_may_in_whatever_order_they_end() {
        let (id, refused) = (ObjectId([3; 32]), End::Refused(Reason::Full));
        for linger in [0, 1, 2] {
            let flights = Flights::new(linger);
            let some: Vec<_> = (0..5).map(|block| full(&flights, id, block)).collect();
            // As several writers do: the table first, the ends later.
            some.iter().for_each(|flight| flights.retire(&id, flight, &refused));
            some.iter().for_each(|flight| flight.finish(refused.clone()));
            assert_eq!(flights.len(), linger);
        }
        let flights = Flights::new(1);
        let first = full(&flights, id, 0);
        flights.retire(&id, &first, &refused);
        first.finish(refused.clone());
        assert!(again(&first, Duration::from_secs(3600)).is_none(), "not yet");
        let anew = Arc::new(again(&first, Duration::ZERO).unwrap());
        assert!(anew.is_full() && again(&anew, Duration::ZERO).is_none(), "it is on its way into the cache");
        flights.shard(&id).insert((id, 0), anew.clone());
        let other = full(&flights, id, 1);
        flights.retire(&id, &other, &refused);
        assert!(
            flights.shard(&id).get(&(id, 0)).is_some_and(|there| Arc::ptr_eq(there, &anew)),
            "it takes the former one's place"
        );
    }

    #[test]
    fn what_is_offered_again_holds_memory_until_it_has_ended() {
        let (flights, id, refused) = (Flights::new(8), ObjectId([3; 32]), End::Refused(Reason::Full));
        // Two units, and however small a flight is it takes one.
        let budget = Budget::new(0, 0, 128 << 10);
        let offer = |flight: &Flight| flight.again(Duration::ZERO, |len| budget.hold_again(len));
        let some: Vec<_> = (0..3).map(|block| full(&flights, id, block)).collect();
        some.iter().for_each(|flight| flight.finish(refused.clone()));
        let offered = [offer(&some[0]).unwrap(), offer(&some[1]).unwrap()];
        assert!(offer(&some[2]).is_none(), "as many are on their way as may be");
        offered[0].finish(refused.clone());
        assert!(offer(&some[2]).is_some());
        assert!(offered[0].is_full(), "who reads it has its bytes all the same");
    }

    #[test]
    fn who_waits_is_woken_when_there_is_enough_and_not_before() {
        let flight = Flight::new(0, 100);
        flight.begin(None, &Pool::default());
        let (near, far) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let (near_waker, far_waker) = (Waker::from(near.clone()), Waker::from(far.clone()));
        let (mut to_30, mut to_80) = (pin!(flight.wait(10..30)), pin!(flight.wait(0..80)));
        assert!(to_30.as_mut().poll(&mut Context::from_waker(&near_waker)).is_pending());
        assert!(to_80.as_mut().poll(&mut Context::from_waker(&far_waker)).is_pending());
        let woken = || (near.0.load(Ordering::Relaxed), far.0.load(Ordering::Relaxed));
        for byte in 0..29 {
            flight.append(&[byte]);
        }
        assert_eq!(woken(), (0, 0), "nobody has enough");
        flight.append(&[29]);
        assert_eq!(woken().0, 1);
        let Poll::Ready(bytes) = to_30.as_mut().poll(&mut Context::from_waker(&near_waker)) else { panic!("enough is there") };
        assert_eq!(bytes.unwrap()[..], (10..30).collect::<Vec<u8>>());
        assert!(to_80.as_mut().poll(&mut Context::from_waker(&far_waker)).is_pending());
        let before = woken().1;
        flight.append(&[0; 49]);
        assert_eq!(woken().1, before, "79 bytes are not 80");
        flight.append(&[0; 1]);
        assert_eq!(woken().1, before + 1);
        assert!(to_80.as_mut().poll(&mut Context::from_waker(&far_waker)).is_ready());
    }
}
