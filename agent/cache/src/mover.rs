//! Moves between tiers, away from the paths of readers and writers: a bounded queue, worked off by one thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::counters::count;
use crate::inner::Inner;
use crate::policy::Bid;
use crate::shared::lock;
use crate::tier::{Name, Tier};

/// Jobs that wait at most.
const JOBS: usize = 1024;
/// Bytes of evicted blocks that wait at most.
const BYTES: usize = 32 << 20;
/// What makes a demoted block win wherever it was used more often than the other: it has been counted fairly already,
/// so the margin that a newcomer needs is given to it.
const DEMOTED: u8 = 3;

/// What is to be moved.
enum Job {
    Promote { from: usize, name: Name, block: u32 },
    Demote { to: usize, name: Name, set: u16, block: u32, count: u8, data: Vec<u8> },
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    stopped: bool,
}

/// The queue.
pub(crate) struct Mover {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Mover {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), wake: Condvar::new() }
    }

    /// Whether an evicted block would find room in the queue.
    pub(crate) fn has_room(&self) -> bool {
        let queue = lock(&self.queue);
        !queue.stopped && queue.jobs.len() < JOBS && queue.bytes + crate::BLOCK as usize <= BYTES
    }

    pub(crate) fn demote(&self, to: usize, name: Name, set: u16, block: u32, count: u8, data: Vec<u8>) -> bool {
        self.push(data.len(), Job::Demote { to, name, set, block, count, data })
    }

    pub(crate) fn promote(&self, from: usize, name: Name, block: u32) -> bool {
        self.push(0, Job::Promote { from, name, block })
    }

    fn push(&self, bytes: usize, job: Job) -> bool {
        let mut queue = lock(&self.queue);
        if queue.stopped || queue.jobs.len() >= JOBS || queue.bytes + bytes > BYTES {
            return false;
        }
        queue.bytes += bytes;
        queue.jobs.push_back(job);
        self.wake.notify_one();
        true
    }

    fn pop(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let job = queue.jobs.pop_front()?;
        if let Job::Demote { data, .. } = &job {
            queue.bytes -= data.len();
        }
        Some(job)
    }

    /// Takes no more jobs and forgets those that wait.
    pub(crate) fn stop(&self) {
        let mut queue = lock(&self.queue);
        queue.stopped = true;
        queue.jobs.clear();
        queue.bytes = 0;
        self.wake.notify_all();
    }

    /// Waits for a job; `false` when it was stopped.
    pub(crate) fn wait(&self) -> bool {
        let mut queue = lock(&self.queue);
        while queue.jobs.is_empty() && !queue.stopped {
            queue = self.wake.wait_timeout(queue, Duration::from_secs(60)).unwrap_or_else(PoisonError::into_inner).0;
        }
        !queue.stopped
    }
}

impl Inner {
    /// Does all moves that wait now.
    pub(crate) fn move_waiting(&self) {
        while let Some(job) = self.mover.pop() {
            let done = match job {
                Job::Promote { from, name, block } => self.promote(from, name, block),
                Job::Demote { to, name, set, block, count, data } => self.demote(to, name, set, block, count, &data),
            };
            if !done {
                count(&self.shared.counters.moves_dropped, 1);
            }
        }
    }

    fn promote(&self, from: usize, name: Name, block: u32) -> bool {
        let Some(count) = self.tiers[from].unqueue(name, block) else { return false };
        let charge = Tier::charge_of(name.size, block);
        let Ok(reservation) = self.reserve(from - 1, charge, Bid::Used(count)) else { return false };
        let moved = self.relocate(from, from - 1, name, block, reservation, false);
        if moved {
            crate::counters::count(&self.shared.counters.promotions, 1);
        }
        moved
    }

    fn demote(&self, to: usize, name: Name, set: u16, block: u32, count: u8, data: &[u8]) -> bool {
        let dataset = self.shared.datasets.get(set);
        let len = data.len() as u64;
        if dataset.retired || !dataset.reserve(len) {
            return false;
        }
        let charge = Tier::charge_of(name.size, block);
        let stored = self.reserve(to, charge, Bid::Used(count.saturating_add(DEMOTED))).is_ok_and(|reservation| {
            let stripe = self.shared.stripe(&name.id);
            if self.shared.is_closed() || self.holder(name, block, Some(&stripe)).is_some() {
                return false;
            }
            let moved = crate::tier::Block { name, number: block, crc: crc32c::crc32c(data), data };
            let landed = self.tiers[to].landing(crate::policy::Place::Main);
            self.tiers[to].store(moved, set, landed, reservation, &stripe).is_ok()
        });
        if stored {
            crate::counters::count(&self.shared.counters.demotions, 1);
        } else {
            dataset.release(len);
        }
        stored
    }
}
