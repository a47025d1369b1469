//! How often statuses are written: bounded for each object, and over all of them.
//!
//! With many Datasets and nodes there is always something that has changed. Each write costs the API server and everyone who watches,
//! so the writes a second do not grow with what there is; what grows is how old a number may be. What has turned (a condition, the
//! phase, which nodes serve) has a budget of its own, and so does not wait behind mere numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two writes of one status.
const EACH: Duration = Duration::from_secs(1);
/// A turn to write that was not taken for so long after it came is another's.
const KEPT: Duration = Duration::from_secs(10);

/// What a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Something has turned: a condition, the phase, which nodes serve.
    Turn,
    /// Numbers that go on changing.
    Numbers,
}

/// A rate with a reserve: so many at once, then one each `every`.
#[derive(Debug)]
pub(crate) struct Budget {
    every: Duration,
    reserve: Duration,
    /// When the reserve is full again, if nothing more is taken.
    full: Option<Instant>,
}

impl Budget {
    pub(crate) const fn new(every: Duration, at_once: u32) -> Self {
        Self { every, reserve: every.saturating_mul(at_once - 1), full: None }
    }

    /// Takes the next turn; when it is.
    fn take(&mut self, now: Instant) -> Instant {
        let base = self.full.filter(|full| *full > now).unwrap_or(now);
        self.full = Some(base + self.every);
        base.checked_sub(self.reserve).map_or(now, |at| at.max(now))
    }

    /// Takes a turn if there is one now; nobody waits for another.
    pub(crate) fn take_now(&mut self, now: Instant) -> bool {
        let is_there = self.full.is_none_or(|full| full <= now + self.reserve);
        if is_there {
            self.take(now);
        }
        is_there
    }
}

#[derive(Debug, Default)]
struct Object {
    written: Option<Instant>,
    /// Its turn, and for what it was taken.
    turn: Option<(Instant, News)>,
}

#[derive(Debug)]
struct State {
    objects: HashMap<String, Object>,
    turns: Budget,
    numbers: Budget,
    tidied: Option<Instant>,
}

/// Says when a status may be written.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<State>);

impl Default for Pace {
    /// With the events' budget and the Lease's writes below ten a second over any minute. Some dozens of Datasets that turn at once are
    /// written at once.
    fn default() -> Self {
        let turns = Budget::new(Duration::from_millis(260), 85);
        let numbers = Budget::new(Duration::from_millis(500), 10);
        Self(Mutex::new(State { objects: HashMap::new(), turns, numbers, tidied: None }))
    }
}

impl Pace {
    /// How long to wait before the next write; `None`: write now, which is noted.
    pub(crate) fn too_soon(&self, uid: &str, news: News) -> Option<Duration> {
        // Each change is one assignment or insertion: what a panic left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).too_soon(uid, news, Instant::now())
    }
}

impl State {
    fn too_soon(&mut self, uid: &str, news: News, now: Instant) -> Option<Duration> {
        self.tidy(now);
        let object = match self.objects.get_mut(uid) {
            Some(object) => object,
            None => self.objects.entry(uid.to_owned()).or_default(),
        };
        if let Some(next) = object.written.map(|at| at + EACH).filter(|next| *next > now) {
            return Some(next - now);
        }
        let kept = object.turn.filter(|(at, of)| now < *at + KEPT && (*of == news || *of == News::Turn));
        let (at, of) = kept.unwrap_or_else(|| {
            let budget = if news == News::Turn { &mut self.turns } else { &mut self.numbers };
            (budget.take(now), news)
        });
        if at > now {
            object.turn = Some((at, of));
            return Some(at - now);
        }
        *object = Object { written: Some(now), turn: None };
        None
    }

    /// Forgets what says nothing any more, once a second: the map stays as small as what is written and waits.
    fn tidy(&mut self, now: Instant) {
        if self.tidied.is_none_or(|at| now.saturating_duration_since(at) >= EACH) {
            self.tidied = Some(now);
            self.objects.retain(|_, object| {
                object.written.is_some_and(|at| now < at + EACH) || object.turn.is_some_and(|(at, _)| now < at + KEPT)
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn state() -> State {
        let budget = |at_once| Budget::new(Duration::from_secs(1), at_once);
        State { objects: HashMap::new(), turns: budget(2), numbers: budget(1), tidied: None }
    }

    #[test]
    fn what_nobody_waits_for_is_taken_while_there_is_a_reserve() {
        let mut budget = Budget::new(Duration::from_secs(1), 3);
        let start = Instant::now();
        let mut taken =
            |millis: u64, tries: usize| (0..tries).filter(|_| budget.take_now(start + Duration::from_millis(millis))).count();
        assert_eq!(taken(0, 10), 3);
        assert_eq!(taken(900, 10), 0);
        assert_eq!(taken(1000, 10), 1, "one each second, and what was refused took none");
        assert_eq!(taken(3500, 10), 2);
        assert_eq!(taken(60_000, 10), 3);
    }

    /// The bound of P13: whatever turns, no minute of a leader has more than ten writes a second of statuses and of events that tell of them.
    #[test]
    fn no_minute_has_more_than_ten_writes_a_second() {
        let pace = Pace::default();
        let mut state = pace.0.lock().unwrap();
        let mut events = crate::events::budget();
        let (start, mut writes) = (Instant::now(), 0);
        for millis in (0..60_000).step_by(50) {
            let now = start + Duration::from_millis(millis);
            for object in 0..1000 {
                let news = if object % 2 == 0 { News::Turn } else { News::Numbers };
                if state.too_soon(&object.to_string(), news, now).is_none() {
                    writes += 1 + usize::from(news == News::Turn && events.take_now(now));
                }
            }
        }
        let lease = 30;
        assert!((500..=600).contains(&(writes + lease)), "{writes} in a minute");
    }

    #[test]
    fn one_status_is_written_once_a_second() {
        let mut state = state();
        let start = Instant::now();
        let mut at = |uid: &str, millis| state.too_soon(uid, News::Turn, start + Duration::from_millis(millis));
        assert_eq!(at("a", 0), None);
        assert_eq!(at("b", 0), None);
        assert_eq!(at("a", 400), Some(Duration::from_millis(600)));
        assert_eq!(at("a", 1000), None);
    }

    #[test]
    fn turns_do_not_wait_for_numbers_and_numbers_are_written_in_order() {
        let mut state = state();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let wait = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(state.too_soon("a", News::Numbers, at(0)), None);
        assert_eq!(state.too_soon("b", News::Numbers, at(0)), wait(1));
        assert_eq!(state.too_soon("c", News::Numbers, at(0)), wait(2));
        assert_eq!(state.too_soon("c", News::Numbers, at(1)), wait(1), "b's turn");
        assert_eq!(state.too_soon("b", News::Numbers, at(1)), None);
        assert_eq!(state.too_soon("c", News::Turn, at(1)), None, "it has turned meanwhile");
        assert_eq!(state.too_soon("d", News::Turn, at(1)), None);
        assert_eq!(state.too_soon("e", News::Turn, at(1)), wait(1), "the reserve is used up");
        assert_eq!(state.too_soon("e", News::Numbers, at(2)), None, "the better turn stays its own");
    }

    #[test]
    fn however_many_change_a_bounded_number_is_written_and_none_is_forgotten() {
        let mut state = state();
        let start = Instant::now();
        let mut written = HashMap::new();
        for millis in (0..100_000).step_by(100) {
            for object in 0..50 {
                if state.too_soon(&object.to_string(), News::Numbers, start + Duration::from_millis(millis)).is_none() {
                    *written.entry(object).or_insert(0) += 1;
                }
            }
        }
        let all: usize = written.values().sum();
        assert!((99..=101).contains(&all), "{all} in 100 s");
        assert!((0..50).all(|object| written[&object] >= 1), "{written:?}");
        state.tidy(start + Duration::from_secs(300));
        assert!(state.objects.is_empty());
    }
}
