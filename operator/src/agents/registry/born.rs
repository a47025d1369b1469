//! Since when nodes may have had data, of the ages that their agents say.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Moments that are less far apart count as one: each change is told to all agents of the runtime.
pub(crate) const SAME_MOMENT: Duration = Duration::from_secs(300);

/// This replica's clocks when it began to lead. Whatever is done to its wall clock later, what has an age stays as old as it is.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Seconds since 1970.
    wall: u64,
}

impl Clock {
    pub(super) fn new(start: Instant, wall: SystemTime) -> Self {
        Self { start, wall: wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) }
    }

    /// When that was, in seconds since 1970, which is `age` old `now`.
    pub(super) fn moment(&self, age: Duration, now: Instant) -> u64 {
        let now = self.wall.saturating_add(now.saturating_duration_since(self.start).as_secs());
        now.saturating_sub(age.as_secs())
    }
}

/// The moment as it is `said` now, or as it was `known` where that counts as the same.
pub(super) fn born(known: Option<u64>, said: Option<u64>) -> Option<u64> {
    match (known, said) {
        (Some(known), Some(said)) if known.abs_diff(said) < SAME_MOMENT.as_secs() => Some(known),
        (_, said) => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_moves_only_by_minutes() {
        let table = [
            (None, None, None),
            (None, Some(1000), Some(1000)),
            (Some(1000), Some(1299), Some(1000)),
            (Some(1000), Some(701), Some(1000)),
            (Some(1000), Some(1300), Some(1300)),
            (Some(1000), Some(700), Some(700)),
            (Some(1000), None, None),
        ];
        for (known, said, expected) in table {
            assert_eq!(born(known, said), expected, "{known:?} {said:?}");
        }
    }

    #[test]
    fn what_is_older_than_time_is_of_its_beginning() {
        let start = Instant::now();
        let clock = Clock::new(start, UNIX_EPOCH + Duration::from_secs(5000));
        let moment = |age, after| clock.moment(Duration::from_secs(age), start + Duration::from_secs(after));
        assert_eq!((moment(1, 0), moment(1, 10), moment(6000, 10), moment(u64::MAX, 10)), (4999, 5009, 0, 0));
    }
}
