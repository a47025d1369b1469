use super::ages::Ages;

/// How often blocks were used lately: a count-min sketch of 4-bit counters that are halved from time to time.
///
/// It remembers blocks that are not cached too; that is what lets a block that comes back win against one that does not. Eight
/// bytes a block, as in Caffeine: four rows of four counters for each block that the cache holds.
pub(crate) struct Sketch {
    /// Sixteen counters each; row `r` of a block is one of the counters `4r..4r+4` of a word chosen for that row.
    words: Vec<u64>,
    mask: u64,
    additions: u64,
    /// Additions after which all counters are halved.
    period: u64,
    ages: Ages,
}

/// The largest count.
pub(crate) const MAX: u8 = 15;
/// Accesses per cached block between two halvings.
const PERIOD_PER_BLOCK: u64 = 10;

impl Sketch {
    /// For about `blocks` cached blocks; it grows by [`Sketch::ensure`].
    pub(crate) fn new(blocks: u64) -> Self {
        let words = blocks.clamp(1024, 1 << 26).next_power_of_two();
        Self {
            words: vec![0; words as usize],
            mask: words - 1,
            additions: 0,
            period: words * PERIOD_PER_BLOCK,
            ages: Ages::default(),
        }
    }

    /// Grows it for `blocks` cached blocks. What it knows is kept: a block's words in the larger table are copies of
    /// those in the smaller one, because an index is the low bits of a hash.
    pub(crate) fn ensure(&mut self, blocks: u64) {
        while blocks > self.words.len() as u64 && self.words.len() < 1 << 26 {
            self.words.extend_from_within(..);
            self.mask = self.words.len() as u64 - 1;
            self.period = self.words.len() as u64 * PERIOD_PER_BLOCK;
        }
    }

    /// Counts one use. Only the smallest of a block's counters grow: the others are too large already, by the uses of
    /// other blocks.
    pub(crate) fn add(&mut self, hash: u64, now: u32) {
        self.ages.count(now, self.words.len() as u64 / 4);
        let count = self.count(hash);
        if count == MAX {
            return;
        }
        for row in 0..4 {
            let (word, shift) = self.place(hash, row);
            let word = &mut self.words[word];
            if *word >> shift & 15 == u64::from(count) {
                *word += 1 << shift;
            }
        }
        self.additions += 1;
        if self.additions >= self.period {
            self.halve();
        }
    }

    /// Uses lately, 0 to [`MAX`]; never less than the truth since the last halving, seldom more.
    pub(crate) fn count(&self, hash: u64) -> u8 {
        (0..4)
            .map(|row| {
                let (word, shift) = self.place(hash, row);
                (self.words[word] >> shift & 15) as u8
            })
            .min()
            .unwrap_or(0)
    }

    /// [`Sketch::count`] of a block last used at `stamp`, halved for each time that it was due twice and did not come.
    ///
    /// A block counted five times in a hundred uses of anything is due each twenty; after forty without it, it counts two. So the files of
    /// yesterday's epochs give way to today's, while in a cycle, however long, nothing is ever late.
    pub(crate) fn count_idle(&self, hash: u64, stamp: u32) -> u8 {
        let count = self.count(hash);
        let since = self.ages.since(stamp);
        let due = self.additions.saturating_sub(since) / u64::from(count.max(1));
        count >> (since / (2 * due).max(1)).min(7)
    }

    fn halve(&mut self) {
        for word in &mut self.words {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.additions /= 2;
    }

    fn place(&self, hash: u64, row: u32) -> (usize, u32) {
        let mixed = mix(hash.wrapping_add(u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        ((mixed & self.mask) as usize, (row * 4 + (mixed >> 62) as u32) * 4)
    }
}

/// The finaliser of SplitMix64: every bit of the result depends on every bit of the input.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_the_largest() {
        let mut sketch = Sketch::new(1024);
        for n in 1..=20u8 {
            sketch.add(42, 0);
            assert_eq!(sketch.count(42), n.min(MAX));
        }
        assert_eq!(sketch.count(43), 0);
    }

    #[test]
    fn forgets_by_halves() {
        let mut sketch = Sketch::new(1024);
        for _ in 0..8 {
            sketch.add(1, 0);
        }
        // One other block, so that no collision hides what is forgotten.
        for _ in 0..9 {
            sketch.add(2, 0);
        }
        sketch.additions = sketch.period - 1;
        sketch.add(2, 0);
        assert_eq!((sketch.count(1), sketch.count(2)), (4, 5));
    }

    #[test]
    fn what_is_overdue_counts_less() {
        let mut sketch = Sketch::new(1024);
        let mut now = 0;
        let mut others = 1000..;
        for _ in 0..8 {
            now += 1;
            sketch.add(1, now);
            for hash in others.by_ref().take(500) {
                sketch.add(hash, now);
            }
        }
        let stamp = now;
        let mut counts = Vec::new();
        for _ in 0..8 {
            now += 1;
            counts.push(sketch.count_idle(1, stamp));
            for hash in others.by_ref().take(500) {
                sketch.add(hash, now);
            }
        }
        assert!(counts[..2] == [8, 8] && counts.is_sorted_by(|a, b| a >= b) && counts[7] <= 2, "{counts:?}");
    }

    #[test]
    fn keeps_what_it_knows_when_it_grows() {
        let mut sketch = Sketch::new(1024);
        for hash in 0..500 {
            sketch.add(hash, 0);
        }
        let before: Vec<_> = (0..500).map(|h| sketch.count(h)).collect();
        sketch.ensure(5000);
        let after: Vec<_> = (0..500).map(|h| sketch.count(h)).collect();
        assert_eq!(before, after);
    }

    #[test]
    fn seldom_overcounts() {
        let mut sketch = Sketch::new(10_000);
        for hash in 0..10_000u64 {
            sketch.add(mix(hash), 0);
        }
        let wrong = (0..10_000u64).filter(|h| sketch.count(mix(*h)) > 1).count();
        assert!(wrong < 100, "{wrong} of 10000 overcounted");
    }
}
