use std::collections::VecDeque;

/// Marks kept; with the step that the sketch takes they reach over several of its periods.
const MARKS: usize = 256;

/// How many uses of anything there were since some time: what "long ago" means to a cache, whose busy hour may be another's week.
#[derive(Default)]
pub(crate) struct Ages {
    uses: u64,
    /// Tick and uses until then, from time to time.
    marks: VecDeque<(u32, u64)>,
}

impl Ages {
    /// Counts one use, and leaves a mark each `step` uses.
    pub(crate) fn count(&mut self, now: u32, step: u64) {
        self.uses += 1;
        if self.marks.back().is_none_or(|(_, uses)| self.uses >= uses + step) {
            if self.marks.len() == MARKS {
                self.marks.pop_front();
            }
            self.marks.push_back((now, self.uses));
        }
    }

    /// Uses since `stamp`: not more than there were.
    pub(crate) fn since(&self, stamp: u32) -> u64 {
        let next = self.marks.partition_point(|(tick, _)| *tick <= stamp);
        self.marks.get(next).map_or(0, |(_, uses)| self.uses - uses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_says_more_uses_than_there_were() {
        let mut ages = Ages::default();
        assert_eq!(ages.since(0), 0);
        for tick in 0..10_000 {
            ages.count(tick, 10);
        }
        for (stamp, least, most) in [(9_999, 0, 0), (9_900, 80, 100), (8_000, 1_980, 2_000), (0, 2_500, 9_999)] {
            let since = ages.since(stamp);
            assert!((least..=most).contains(&since), "{stamp}: {since}");
        }
    }
}
