use std::time::Duration;

/// Retries that may be saved up.
const CAPACITY: f64 = 32.0;
/// Retries that each success pays for: under steady load retries add at most a quarter.
const PER_SUCCESS: f64 = 0.25;
/// Retries a second that need no success, so that a store can be tried at all while everything fails.
const PER_SECOND: f64 = 8.0;

/// What a store's callers together may retry. Pure: time comes in, counted from any fixed point.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: f64,
    at: Duration,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { tokens: CAPACITY, at: Duration::ZERO }
    }

    /// A call succeeded.
    pub(super) fn deposit(&mut self) {
        self.tokens = (self.tokens + PER_SUCCESS).min(CAPACITY);
    }

    /// Takes one retry, or says how long to wait before asking again.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * PER_SECOND).min(CAPACITY);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Rounded up, or a caller could come back a nanosecond early, for ever.
        Err(Duration::from_secs_f64((1.0 - self.tokens) / PER_SECOND) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn taken(budget: &mut Budget, now: Duration) -> usize {
        (0..1000).take_while(|_| budget.take(now).is_ok()).count()
    }

    #[test]
    fn a_storm_is_bounded_and_recovers() {
        let mut budget = Budget::new();
        assert_eq!(taken(&mut budget, Duration::ZERO), 32);
        assert_eq!(taken(&mut budget, Duration::from_secs(1)), 8);
        for _ in 0..40 {
            budget.deposit();
        }
        assert_eq!(taken(&mut budget, Duration::from_secs(1)), 10);
        assert_eq!(taken(&mut budget, Duration::from_secs(1000)), 32);
    }

    #[test]
    fn who_waits_as_told_gets_one() {
        let mut budget = Budget::new();
        taken(&mut budget, Duration::ZERO);
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            now += budget.take(now).expect_err("the budget is used up");
            assert_eq!(budget.take(now), Ok(()));
        }
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut budget = Budget::new();
        assert_eq!(taken(&mut budget, Duration::from_secs(10)), 32);
        assert_eq!(taken(&mut budget, Duration::from_secs(5)), 0);
        assert_eq!(taken(&mut budget, Duration::from_secs(10)), 0);
    }
}
