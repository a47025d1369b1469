//! Whether evicting for a disk that is too full helps: what the kernel remembers of a published file, or somebody has open, keeps its space
//! after it was unlinked.

use crate::BLOCK;
use crate::policy::TICKS;

/// Ticks until it is tried again where it gave nothing back.
const WAIT: u32 = 15 * TICKS;

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
#[derive(Default)]
pub(super) struct Vain(Option<(u64, u32)>);

impl Vain {
    pub(super) fn note(&mut self, free: u64, now: u32) {
        self.0 = Some((free, now));
    }

    /// Whether it still is, as far as is known: nothing came back since, and it was not long ago.
    pub(super) fn holds(&self, free: u64, now: u32) -> bool {
        self.0.is_some_and(|(before, since)| free < before.saturating_add(BLOCK) && now.abs_diff(since) < WAIT)
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
        let mut vain = Vain::default();
        assert!(!vain.holds(0, 0));
        vain.note(10, 100);
        assert!(vain.holds(10, 100) && vain.holds(0, 100 + WAIT - 1) && vain.holds(10 + BLOCK - 1, 100));
        assert!(!vain.holds(10 + BLOCK, 100) && !vain.holds(10, 100 + WAIT));
        assert!(!vain.holds(10, 1000) && vain.holds(10, 50), "the clock may jump");
    }
}
