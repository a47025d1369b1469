//! When the kernel is to look anew for the data of files that nobody has open in composed mounts.
//!
//! It takes as long as there are files that it remembers, and each of them has to be looked up again: so not often, and never so that
//! it is most of what is done. Where room is short it cannot wait: what is remembered keeps space from being free. What was open stays
//! remembered, so it looks again when nothing changed since, but not for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forebay_cache::LayerChanges;
use tokio::time::Instant;

/// How often the cache is asked whether anything changed; no two begin sooner after another, nor sooner than the last one took.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two, unless it is urgent.
const APART: Duration = Duration::from_secs(10);
/// The same, in the time that the last one took.
const APART_BY_COST: u32 = 20;
/// When it looks again after nothing changed, for what was open the last time.
const AGAIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(300)];
/// How often the pause after a failure doubles.
const DOUBLED: u32 = 6;

/// Changes of published files that the cache does not count.
#[derive(Debug, Default)]
pub(crate) struct Uncounted(AtomicU64);

impl Uncounted {
    /// One more.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// All changes: those that the cache counts, and these.
    pub(crate) fn with(&self, LayerChanges { all, urgent }: LayerChanges) -> LayerChanges {
        LayerChanges { all: all + self.0.load(Ordering::Relaxed), urgent }
    }
}

/// What the kernel was made to forget so far.
#[derive(Debug, Default)]
pub(crate) struct Anew {
    /// Changes that there were when it last looked.
    tried: LayerChanges,
    /// When it last looked, and how long that took.
    last: Option<(Instant, Duration)>,
    /// How often it failed since it last did not.
    failures: u32,
    /// How often it looked since the last change.
    again: usize,
}

impl Anew {
    fn is_due(&self, changes: LayerChanges, now: Instant) -> bool {
        let Some((ended, took)) = self.last else { return changes != self.tried };
        let apart = APART.max(took.saturating_mul(APART_BY_COST));
        let pauses = [
            (changes.urgent != self.tried.urgent).then_some(LOOK_EVERY),
            (changes.all != self.tried.all).then_some(apart),
            (self.failures > 0).then(|| LOOK_EVERY * (1 << (self.failures - 1).min(DOUBLED))),
            AGAIN.get(self.again).map(|pause| apart.max(*pause)),
        ];
        let pause = pauses.into_iter().flatten().min();
        pause.is_some_and(|pause| now.saturating_duration_since(ended) >= pause.max(took))
    }

    /// It looked. `by_all`: every mount did.
    fn done(&mut self, changes: LayerChanges, by_all: bool, ended: Instant, took: Duration) {
        self.again = if changes != self.tried || self.failures > 0 || self.last.is_none() { 0 } else { self.again + 1 };
        self.failures = if by_all { 0 } else { self.failures.saturating_add(1) };
        (self.tried, self.last) = (changes, Some((ended, took)));
    }

    /// Calls `forget`, which says whether every mount did. Cancelled while that runs, nothing was done.
    pub(crate) async fn look<F: Future<Output = bool>>(&mut self, changes: impl Fn() -> LayerChanges, forget: impl Fn() -> F) {
        let (changes, began) = (changes(), Instant::now());
        let by_all = forget().await;
        self.done(changes, by_all, Instant::now(), began.elapsed());
    }

    /// Calls `forget` whenever it is due; for ever. Cancelled while that runs, it is called again.
    pub(crate) async fn keep_looking<F: Future<Output = bool>>(
        &mut self,
        changes: impl Fn() -> LayerChanges,
        forget: impl Fn() -> F,
    ) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.is_due(changes(), Instant::now()) {
                self.look(&changes, &forget).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const NONE: Duration = Duration::ZERO;

    fn changes(all: u64, urgent: u64) -> LayerChanges {
        LayerChanges { all, urgent }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_new_is_nothing_to_look_for() {
        let (anew, now) = (Anew::default(), Instant::now());
        assert!(!anew.is_due(changes(0, 0), now + seconds(3600)) && anew.is_due(changes(1, 0), now));
    }

    /// By what changed since, how long the last one took, and how it went: when the next is due.
    #[test]
    fn what_came_waits_and_what_went_for_want_of_room_hardly() {
        let now = Instant::now();
        let table = [
            (changes(1, 0), NONE, true, seconds(30)),
            (changes(2, 0), NONE, true, seconds(10)),
            (changes(2, 0), seconds(3), true, seconds(60)),
            (changes(2, 1), NONE, true, seconds(1)),
            (changes(2, 1), seconds(3), true, seconds(3)),
            (changes(1, 0), NONE, false, seconds(1)),
            (changes(1, 0), seconds(3), false, seconds(3)),
            (changes(1, 0), seconds(3), true, seconds(60)),
        ];
        for (newest, took, by_all, due) in table {
            let mut anew = Anew::default();
            anew.done(changes(1, 0), by_all, now, took);
            let case = format!("{newest:?} {took:?} {by_all}");
            assert!(!anew.is_due(newest, now + due - Duration::from_millis(1)), "{case}");
            assert!(anew.is_due(newest, now + due), "{case}");
        }
    }

    #[test]
    fn it_looks_twice_more_for_what_was_open_and_rests() {
        let (mut anew, now) = (Anew::default(), Instant::now());
        for round in 1..3 {
            for after in [30, 300] {
                anew.done(changes(round, 0), true, now, NONE);
                assert!(!anew.is_due(changes(round, 0), now + seconds(after - 1)), "{round} {after}");
                assert!(anew.is_due(changes(round, 0), now + seconds(after)), "{round} {after}");
            }
            anew.done(changes(round, 0), true, now, NONE);
            assert!(!anew.is_due(changes(round, 0), now + seconds(100_000)), "{round}");
        }
    }

    #[test]
    fn what_fails_is_tried_again_at_growing_intervals() {
        let (mut anew, now) = (Anew::default(), Instant::now());
        for pause in [1, 2, 4, 8, 16] {
            anew.done(changes(1, 0), false, now, NONE);
            assert!(!anew.is_due(changes(1, 0), now + seconds(pause) - Duration::from_millis(1)), "{pause}");
            assert!(anew.is_due(changes(1, 0), now + seconds(pause)), "{pause}");
            assert!(anew.is_due(changes(2, 1), now + seconds(1)), "what is new and urgent does not wait for that");
        }
        anew.done(changes(1, 0), true, now, NONE);
        assert!(!anew.is_due(changes(1, 0), now + seconds(29)) && anew.is_due(changes(1, 0), now + seconds(30)));
    }

    /// Calls within an hour, when the first ones fail.
    async fn calls(failing: u64) -> u64 {
        let called = AtomicU64::new(0);
        let forget = || async { called.fetch_add(1, Ordering::SeqCst) >= failing };
        let mut anew = Anew::default();
        let looking = anew.keep_looking(|| changes(1, 1), forget);
        assert!(tokio::time::timeout(seconds(3600), looking).await.is_err(), "it never ends by itself");
        called.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_forgotten_as_often_more_as_it_failed() {
        let whole = 1 + AGAIN.len() as u64;
        assert_eq!((calls(0).await, calls(1).await, calls(3).await), (whole, whole + 1, whole + 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_called_again_in_a_moment() {
        let called = AtomicU64::new(0);
        let forget = || async { called.fetch_add(1, Ordering::SeqCst) > 0 };
        let mut anew = Anew::default();
        let looking = anew.keep_looking(|| changes(1, 1), forget);
        assert!(tokio::time::timeout(seconds(20), looking).await.is_err());
        assert_eq!(called.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_elsewhere_is_looked_for_again() {
        let mut anew = Anew::default();
        anew.look(|| changes(0, 0), || async { false }).await;
        assert!(anew.is_due(changes(0, 0), Instant::now() + seconds(1)));
    }
}
