//! How far a prefetch is, how fast, and how long it will take: counters by the workers, the rest derived.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The rate is that of the last so many seconds: long enough to be steady, short enough to notice a stall.
const HORIZON: Duration = Duration::from_secs(10);

/// Counters of one prefetch.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) total_bytes: AtomicU64,
    pub(crate) total_files: AtomicU64,
    /// Bytes of the plan that are in the cache, those found there included.
    pub(crate) done_bytes: AtomicU64,
    pub(crate) done_files: AtomicU64,
    rate: Mutex<Rate>,
}

impl Progress {
    pub(crate) fn add_file(&self) {
        self.done_files.fetch_add(1, Ordering::Relaxed);
    }

    /// Starts over for a plan of this size.
    pub(crate) fn begin(&self, files: u64, bytes: u64) {
        self.total_files.store(files, Ordering::Relaxed);
        self.total_bytes.store(bytes, Ordering::Relaxed);
        self.done_files.store(0, Ordering::Relaxed);
        self.done_bytes.store(0, Ordering::Relaxed);
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Rate::default();
    }

    /// Bytes a second, as of `now` (any monotonic clock). Call it now and then: it samples.
    pub(crate) fn bytes_per_second(&self, now: Duration) -> u64 {
        let done = self.done_bytes.load(Ordering::Relaxed);
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).sample(now, done)
    }
}

/// Samples of the last [`HORIZON`], at most one each half second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Notes that `done` bytes were done at `now`; returns the mean rate over the horizon.
    pub(crate) fn sample(&mut self, now: Duration, done: u64) -> u64 {
        while self.samples.len() > 1 && now.saturating_sub(self.samples[0].0) > HORIZON {
            self.samples.pop_front();
        }
        let due = self.samples.back().is_none_or(|last| now.saturating_sub(last.0) >= Duration::from_millis(500));
        if due {
            self.samples.push_back((now, done));
        }
        let Some(&(since, before)) = self.samples.front() else { return 0 };
        let elapsed = now.saturating_sub(since).as_millis();
        if elapsed == 0 {
            return 0;
        }
        let bytes = u128::from(done.saturating_sub(before));
        u64::try_from(bytes * 1000 / elapsed).unwrap_or(u64::MAX)
    }
}

/// Time until `total` at `rate` bytes a second; `None` while nothing moves, or when it is done.
pub(crate) fn time_left(done: u64, total: u64, rate: u64) -> Option<Duration> {
    let left = total.checked_sub(done).filter(|left| *left > 0)?;
    (rate > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        let second = Duration::from_secs;
        assert_eq!(rate.sample(second(0), 0), 0);
        assert_eq!(rate.sample(second(1), 100), 100);
        assert_eq!(rate.sample(second(2), 100), 50);
        for at in 3..40 {
            rate.sample(second(at), 100);
        }
        assert_eq!(rate.sample(second(40), 100), 0, "a stall shows");
    }

    #[test]
    fn time_left_is_told_only_while_it_means_something() {
        assert_eq!(time_left(0, 100, 10), Some(Duration::from_secs(10)));
        assert_eq!(time_left(95, 100, 10), Some(Duration::from_secs(1)));
        assert_eq!(time_left(100, 100, 10), None);
        assert_eq!(time_left(50, 100, 0), None);
    }
}
