//! Whether it is worth asking others for what they may hold: pure.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// So many in a row in vain, and nobody is asked for a while.
const IN_VAIN: u32 = 16;
/// For so long.
const PAUSE: Duration = Duration::from_secs(10);

/// Each kind of question counts apart, for each may be in vain for a reason of its own.
#[derive(Debug, Default)]
pub(crate) struct Hopes {
    /// For what this node wants and has to bring in.
    pub(crate) own: Hope,
    /// For what others ask of it: who asks has nothing, and must not make this node think that nobody has.
    pub(crate) others: Hope,
    /// For what this node wants, of its own zone, before it asks the owner in another.
    pub(crate) zone: Hope,
}

/// Others have what this node lacks when it is new among them, and when all are new nobody has it: then to ask them only costs time.
#[derive(Debug, Default)]
pub(crate) struct Hope {
    in_vain: AtomicU32,
    /// When the last was in vain, in milliseconds of the clock.
    last: AtomicU64,
}

impl Hope {
    /// Whether to ask, at this time of a clock that has any beginning.
    pub(crate) fn allows(&self, now: Duration) -> bool {
        let since = now.saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
        self.in_vain.load(Ordering::Relaxed) < IN_VAIN || since >= PAUSE
    }

    /// Somebody held what was asked for, or nobody did.
    pub(crate) fn note(&self, now: Duration, held: bool) {
        if held {
            self.in_vain.store(0, Ordering::Relaxed);
        } else {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
            self.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_vain_often_enough_is_tried_again_after_a_pause_and_in_full_when_it_is_not() {
        let (hope, mut now) = (Hope::default(), Duration::from_secs(100));
        for _ in 0..IN_VAIN {
            assert!(hope.allows(now));
            hope.note(now, false);
        }
        assert!(!hope.allows(now) && !hope.allows(now + PAUSE / 2));
        now += PAUSE;
        assert!(hope.allows(now));
        hope.note(now, false);
        assert!(!hope.allows(now), "still in vain");
        now += PAUSE;
        hope.note(now, true);
        assert!(hope.allows(now));
        hope.note(now, false);
        assert!(hope.allows(now), "one of them says little");
    }
}
