//! When to list again: pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Pause before the `attempt`-th repetition (from 1): doubling from a second to a minute. `jitter` in 0..=1 takes
/// off up to half of it, so that many nodes do not come back to a recovering store at once.
pub(crate) fn backoff(attempt: u32, jitter: f64) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST);
    whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// How long until a tree listed `age` ago is due, under a policy that lists every `every`.
pub(crate) fn due_in(every: Duration, age: Duration) -> Duration {
    every.saturating_sub(age)
}

/// Nanoseconds since the epoch, as catalogs have them.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<_> = (1..=8).map(|attempt| backoff(attempt, 0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(u32::MAX, 0.0), LONGEST);
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
    }

    #[test]
    fn an_old_tree_is_due_at_once() {
        assert_eq!(due_in(Duration::from_secs(10), Duration::from_secs(3)), Duration::from_secs(7));
        assert_eq!(due_in(Duration::from_secs(10), Duration::from_secs(30)), Duration::ZERO);
    }
}
