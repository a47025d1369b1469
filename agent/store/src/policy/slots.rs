use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// Who asks: someone waiting for the bytes, or the agent ahead of need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// A read that someone waits for. Never waits for prefetch.
    #[default]
    Reader,
    /// Prefetch, pins, listings of the background: uses what readers leave.
    Prefetch,
}

/// A semaphore with two priorities: `total` slots, `reserved` of them for readers only. A free slot goes to the reader
/// that has waited longest, and to prefetch only when no reader waits.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    total: usize,
    for_prefetch: usize,
    readers: usize,
    prefetches: usize,
    waiting_readers: VecDeque<oneshot::Sender<Slot>>,
    waiting_prefetches: VecDeque<oneshot::Sender<Slot>>,
}

/// One slot in use; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    priority: Priority,
}

impl State {
    fn has_room(&self, priority: Priority) -> bool {
        let free = self.readers + self.prefetches < self.total;
        match priority {
            Priority::Reader => free,
            Priority::Prefetch => free && self.prefetches < self.for_prefetch,
        }
    }

    fn count(&mut self, priority: Priority) -> &mut usize {
        match priority {
            Priority::Reader => &mut self.readers,
            Priority::Prefetch => &mut self.prefetches,
        }
    }
}

impl Slots {
    pub(super) fn new(total: usize, reserved: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            total,
            for_prefetch: total.saturating_sub(reserved).max(1),
            readers: 0,
            prefetches: 0,
            waiting_readers: VecDeque::new(),
            waiting_prefetches: VecDeque::new(),
        })))
    }

    /// Slots in use: readers', prefetch's.
    pub(super) fn used(&self) -> (usize, usize) {
        let state = self.lock();
        (state.readers, state.prefetches)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for a slot. Dropping the future leaves the queue, or gives the slot back that just came.
    pub(super) async fn take(&self, priority: Priority) -> Slot {
        loop {
            let granted = {
                let mut state = self.lock();
                // Nobody who waits can use a slot that is free now, or it would have been given away.
                if state.has_room(priority) {
                    *state.count(priority) += 1;
                    return Slot { slots: self.clone(), priority };
                }
                let (sender, receiver) = oneshot::channel();
                match priority {
                    Priority::Reader => state.waiting_readers.push_back(sender),
                    Priority::Prefetch => state.waiting_prefetches.push_back(sender),
                }
                receiver
            };
            // A sender is only dropped by handing out its slot, so this ends in the first round.
            if let Ok(slot) = granted.await {
                return slot;
            }
        }
    }

    /// Hands free slots to those that wait. A slot whose receiver is gone comes back by its own drop.
    fn grant(&self) {
        loop {
            let mut state = self.lock();
            let next = if state.has_room(Priority::Reader) && !state.waiting_readers.is_empty() {
                state.waiting_readers.pop_front().map(|sender| (sender, Priority::Reader))
            } else if state.has_room(Priority::Prefetch) {
                state.waiting_prefetches.pop_front().map(|sender| (sender, Priority::Prefetch))
            } else {
                None
            };
            let Some((sender, priority)) = next else { return };
            if sender.is_closed() {
                continue;
            }
            *state.count(priority) += 1;
            drop(state);
            let unwanted = sender.send(Slot { slots: self.clone(), priority });
            drop(unwanted);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.slots.lock().count(self.priority) -= 1;
        self.slots.grant();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use futures::FutureExt;

    use super::*;

    fn now(future: impl Future<Output = Slot>) -> Option<Slot> {
        future.now_or_never()
    }

    #[test]
    fn prefetch_leaves_the_reserve() {
        let slots = Slots::new(4, 1);
        let held: Vec<_> = (0..3).map(|_| now(slots.take(Priority::Prefetch)).expect("room")).collect();
        assert!(now(slots.take(Priority::Prefetch)).is_none());
        let reader = now(slots.take(Priority::Reader));
        assert!(reader.is_some());
        assert!(now(slots.take(Priority::Reader)).is_none());
        assert_eq!(slots.used(), (1, 3));
        drop((held, reader));
        assert_eq!(slots.used(), (0, 0));
    }

    #[test]
    fn readers_overtake_prefetch() {
        let slots = Slots::new(2, 0);
        let (first, second) = (now(slots.take(Priority::Reader)), now(slots.take(Priority::Reader)));
        let mut prefetch = Box::pin(slots.take(Priority::Prefetch));
        assert!((&mut prefetch).now_or_never().is_none());
        let mut reader = Box::pin(slots.take(Priority::Reader));
        assert!((&mut reader).now_or_never().is_none());
        drop(first);
        assert!((&mut prefetch).now_or_never().is_none());
        let third = reader.now_or_never();
        assert!(third.is_some());
        drop(second);
        assert!(prefetch.now_or_never().is_some());
        drop(third);
        assert_eq!(slots.used(), (0, 0));
    }

    #[test]
    fn a_caller_that_left_the_queue_keeps_no_slot() {
        let slots = Slots::new(1, 0);
        let held = now(slots.take(Priority::Reader));
        let mut gone: Vec<_> = (0..5).map(|_| Box::pin(slots.take(Priority::Reader))).collect();
        for waiting in &mut gone {
            assert!(waiting.now_or_never().is_none());
        }
        let mut stays = Box::pin(slots.take(Priority::Prefetch));
        assert!((&mut stays).now_or_never().is_none());
        // One leaves while the slot is already on its way to it, the others before.
        gone.truncate(1);
        drop(held);
        assert_eq!(slots.used(), (1, 0));
        drop(gone);
        assert!(stays.now_or_never().is_some());
        assert_eq!(slots.used(), (0, 0));
    }
}
