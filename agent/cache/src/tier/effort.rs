//! Whether evicting for a disk that is too full helps: what the kernel remembers of a published file, or somebody has open, keeps its space
//! after it was unlinked.

use crate::BLOCK;
use crate::policy::TICKS;

/// Ticks until a write tries again where it gave nothing back: a file system may free what was unlinked a moment later.
const WRITE_WAITS: u32 = TICKS;
/// Ticks until the reserve is tried to be restored again.
const TRIM_WAITS: u32 = 15 * TICKS;
/// Evicting less says nothing: others write to the disk meanwhile.
const LEAST: u64 = 4 * BLOCK;

/// What one write is worth: more than what others have yet to write of what they were granted could make up for.
pub(super) fn worth_of_write(charge: u64, in_flight: u64) -> u64 {
    charge.saturating_mul(2).max(LEAST).saturating_add(in_flight.saturating_mul(2))
}

/// What was evicted for the disk's sake, in one go.
#[derive(Default)]
pub(crate) struct Effort {
    /// What there was before, and how much is worth trying.
    begun: Option<(u64, u64)>,
    evicted: u64,
}

impl Effort {
    pub(crate) fn add(&mut self, evicted: u64) {
        self.evicted += evicted;
    }

    /// Whether next to nothing came back of what was evicted since this was first asked, once that is as much as was worth trying then.
    pub(super) fn is_vain(&mut self, free: u64, worth: u64) -> bool {
        let Some((before, worth)) = self.begun else {
            (self.begun, self.evicted) = (Some((free, worth)), 0);
            return false;
        };
        self.evicted >= worth && free.saturating_sub(before) < self.evicted / 4
    }
}

/// That evicting was in vain: what was free then, and when.
pub(super) struct Vain {
    last: Option<(u64, u32)>,
    waits: u32,
}

impl Vain {
    pub(super) fn of_writes() -> Self {
        Self { last: None, waits: WRITE_WAITS }
    }

    pub(super) fn of_trim() -> Self {
        Self { last: None, waits: TRIM_WAITS }
    }

    pub(super) fn note(&mut self, free: u64, now: u32) {
        self.last = Some((free, now));
    }

    /// Whether it still is, as far as is known: nothing came back since, and it was not long ago.
    pub(super) fn holds(&self, free: u64, now: u32) -> bool {
        self.last.is_some_and(|(before, since)| free < before.saturating_add(BLOCK) && now.abs_diff(since) < self.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_ends_when_nothing_came_back() {
        let mut effort = Effort::default();
        effort.add(1000);
        assert!(!effort.is_vain(50, 20), "it has only begun");
        effort.add(19);
        assert!(!effort.is_vain(50, 1), "less than was worth trying at first");
        effort.add(1);
        for (free, vain) in [(0, true), (50, true), (54, true), (55, false), (70, false)] {
            assert_eq!(effort.is_vain(free, 20), vain, "{free}");
        }
    }

    #[test]
    fn it_is_tried_again_when_the_disk_has_more_or_after_a_while() {
        let (mut vain, wait) = (Vain::of_trim(), TRIM_WAITS);
        assert!(!vain.holds(0, 0));
        vain.note(10, 100);
        assert!(vain.holds(10, 100) && vain.holds(0, 100 + wait - 1) && vain.holds(10 + BLOCK - 1, 100));
        assert!(!vain.holds(10 + BLOCK, 100) && !vain.holds(10, 100 + wait));
        assert!(!vain.holds(10, 1000) && vain.holds(10, 50), "the clock may jump");
    }
}
