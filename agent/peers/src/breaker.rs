//! When a peer that failed is asked again: pure.

use std::time::Duration;

/// The first pause after a failure; each further one in a row doubles it.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// For so long a peer is not asked that gave wrong bytes.
const LIED: Duration = Duration::from_secs(300);

/// Whether one peer may be asked. Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    until: Duration,
    /// After the pause one request tries; the others wait for what becomes of it.
    trying: Option<Duration>,
    lied: bool,
}

/// A trial that has not ended by then is forgotten.
const TRIAL: Duration = Duration::from_secs(10);

impl Breaker {
    /// Whether to ask now. After a failure `true` is given to one caller at a time.
    pub(crate) fn allows(&mut self, now: Duration) -> bool {
        if self.failures == 0 {
            return true;
        }
        if now < self.until || self.trying.is_some_and(|since| now < since + TRIAL) {
            return false;
        }
        self.trying = Some(now);
        true
    }

    /// It answered as it should.
    pub(crate) fn succeeded(&mut self) {
        if !self.lied {
            *self = Self::default();
        }
    }

    /// It answered, and gave no body: no failure, and no word on whether it gives bodies.
    pub(crate) fn answered(&mut self) {
        self.trying = None;
    }

    /// It did not answer, or not in the words agreed on.
    pub(crate) fn failed(&mut self, now: Duration) {
        // What was asked before the first failure and fails after it says nothing new.
        if self.failures > 0 && now < self.until {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.until = self.until.max(now + FIRST.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST));
        self.trying = None;
    }

    /// It gave wrong bytes.
    pub(crate) fn lied(&mut self, now: Duration) {
        *self = Self { failures: 1, until: now + LIED, trying: None, lied: true };
    }

    /// What was held for a lie was none.
    pub(crate) fn forgive(&mut self) {
        if self.lied {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_peer_that_fails_is_asked_by_one_after_a_pause_that_grows() {
        let mut breaker = Breaker::default();
        assert!(breaker.allows(ms(0)) && breaker.allows(ms(0)));
        breaker.failed(ms(0));
        breaker.failed(ms(1));
        assert!(!breaker.allows(ms(499)));
        assert!(breaker.allows(ms(500)), "two that failed at the same time are one failure");
        assert!(!breaker.allows(ms(501)), "one tries");
        breaker.failed(ms(600));
        assert!(!breaker.allows(ms(1599)));
        assert!(breaker.allows(ms(1600)));
        breaker.succeeded();
        assert!(breaker.allows(ms(1601)) && breaker.allows(ms(1601)));
        let mut now = ms(2000);
        for _ in 0..20 {
            breaker.failed(now);
            now += LONGEST;
            assert!(breaker.allows(now), "never for ever");
        }
    }

    #[test]
    fn a_refusal_ends_a_trial_and_does_not_make_good_what_failed() {
        let mut breaker = Breaker::default();
        breaker.answered();
        assert!(breaker.allows(ms(0)));
        breaker.failed(ms(0));
        breaker.failed(ms(500));
        assert!(!breaker.allows(ms(1499)) && breaker.allows(ms(1500)) && !breaker.allows(ms(1501)));
        breaker.answered();
        assert!(breaker.allows(ms(1502)) && !breaker.allows(ms(1503)), "still by one at a time");
        breaker.failed(ms(1600));
        assert!(!breaker.allows(ms(3599)) && breaker.allows(ms(3600)), "its pause has grown");
    }

    #[test]
    fn a_trial_that_never_ends_does_not_keep_the_peer_away() {
        let mut breaker = Breaker::default();
        breaker.failed(ms(0));
        assert!(breaker.allows(ms(1000)));
        assert!(!breaker.allows(ms(1000) + TRIAL - ms(1)));
        assert!(breaker.allows(ms(1000) + TRIAL));
    }

    #[test]
    fn a_liar_is_left_alone_for_long_whatever_it_answers_else() {
        let mut breaker = Breaker::default();
        breaker.lied(ms(0));
        breaker.succeeded();
        assert!(!breaker.allows(LIED - ms(1)));
        breaker.forgive();
        assert!(breaker.allows(ms(1)));
    }
}
