//! Threads that read on while something is done to what they read, and the dice by which they choose.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use forebay_e2e::wait_until;

use crate::support::SOON;

/// Numbers that are the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Sets the flag when it goes, a failed assertion included: threads that wait for the flag would keep the test from ending.
pub(crate) struct Ends<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers at work.
#[derive(Default)]
pub(crate) struct Readers {
    ended: AtomicBool,
    rounds: AtomicUsize,
}

impl Readers {
    /// Does `meanwhile` while so many threads do `once` again and again.
    pub(crate) fn during<T>(threads: u64, once: impl Fn(&mut Dice) + Sync, meanwhile: impl FnOnce(&Self) -> T) -> T {
        let readers = Self::default();
        thread::scope(|scope| {
            for seed in 1..=threads {
                let (readers, once) = (&readers, &once);
                scope.spawn(move || {
                    let _ends = Ends(&readers.ended);
                    let mut dice = Dice::new(seed);
                    while !readers.ended.load(Ordering::Relaxed) {
                        once(&mut dice);
                        readers.rounds.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let _ends = Ends(&readers.ended);
            meanwhile(&readers)
        })
    }

    /// How often `once` was done, by all together.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits for `enough`; fails at once when a reader did.
    pub(crate) fn wait(&self, what: &str, mut enough: impl FnMut() -> bool) {
        wait_until(what, SOON, || {
            assert!(!self.ended.load(Ordering::Relaxed), "a reader failed while the test waited for {what}");
            Ok(enough().then_some(()))
        })
        .unwrap();
    }

    /// Waits for so many more rounds.
    pub(crate) fn go_on(&self, what: &str, rounds: usize) {
        let until = self.rounds() + rounds;
        self.wait(what, || self.rounds() >= until);
    }
}
