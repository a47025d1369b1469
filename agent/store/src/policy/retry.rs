use std::time::Duration;

use super::Limits;
use crate::StoreErrorKind;

/// How often and since when one call has been failing. Pure: time and chance come in.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: u32,
    /// The first failure since the last byte.
    since: Option<Duration>,
}

impl Attempts {
    /// A byte arrived: the store works, and its next failure is a new one.
    pub(super) fn progress(&mut self) {
        self.since = None;
    }

    /// The pause before the call may be repeated, or `None` if it may not. `chance` is in `0.0..1.0`.
    pub(super) fn next(&mut self, limits: &Limits, now: Duration, kind: &StoreErrorKind, chance: f64) -> Option<Duration> {
        if !kind.is_transient() || self.failures >= limits.retries {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let doubled = limits.backoff.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let pause = doubled.min(limits.max_backoff).mul_f64(chance.clamp(0.0, 1.0));
        self.failures += 1;
        (now + pause <= since + limits.retry_time).then_some(pause)
    }

    /// Whether a repetition at `then` would be too late.
    pub(super) fn over(&self, limits: &Limits, then: Duration) -> bool {
        self.since.is_some_and(|since| then > since + limits.retry_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: StoreErrorKind = StoreErrorKind::Unavailable;

    fn limits() -> Limits {
        let seconds = Duration::from_secs;
        Limits { retries: 5, backoff: seconds(1), max_backoff: seconds(6), retry_time: seconds(60), ..Limits::default() }
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_end() {
        let mut attempts = Attempts::default();
        let pauses: Vec<_> = (0..6).map(|_| attempts.next(&limits(), Duration::ZERO, &TRANSIENT, 1.0)).collect();
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(pauses, [seconds(1), seconds(2), seconds(4), seconds(6), seconds(6), None]);
    }

    #[test]
    fn a_pause_is_a_random_part() {
        for (chance, millis) in [(0.0, 0), (0.25, 250), (0.999, 999)] {
            let pause = Attempts::default().next(&limits(), Duration::ZERO, &TRANSIENT, chance);
            assert_eq!(pause.map(|pause| pause.as_millis()), Some(millis));
        }
    }

    #[test]
    fn only_transient_errors_are_repeated() {
        for kind in [StoreErrorKind::NotFound, StoreErrorKind::Denied, StoreErrorKind::RangeNotSatisfiable] {
            assert_eq!(Attempts::default().next(&limits(), Duration::ZERO, &kind, 0.5), None);
        }
    }

    #[test]
    fn time_is_bounded_and_a_byte_starts_it_anew() {
        let at = Duration::from_secs;
        let mut attempts = Attempts::default();
        assert!(attempts.next(&limits(), at(100), &TRANSIENT, 0.5).is_some());
        assert!(!attempts.over(&limits(), at(160)));
        assert!(attempts.over(&limits(), at(161)));
        assert!(attempts.next(&limits(), at(160), &TRANSIENT, 0.5).is_none());
        attempts.progress();
        assert!(!attempts.over(&limits(), at(161)));
        assert!(attempts.next(&limits(), at(170), &TRANSIENT, 0.5).is_some());
    }
}
