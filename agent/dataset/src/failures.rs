use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many paths are remembered; the count goes on beyond it.
const KEPT: usize = 100;

/// What failed last, by path: bounded, the latest error of each path.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_path: BTreeMap<String, (Duration, String)>,
    beyond: u64,
}

impl Failures {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `path` failed at `now` (time on any monotonic clock).
    pub(crate) fn record(&self, now: Duration, path: &str, error: &impl std::fmt::Display) {
        let mut inner = self.inner();
        if inner.by_path.len() >= KEPT && !inner.by_path.contains_key(path) {
            inner.beyond += 1;
            return;
        }
        inner.by_path.insert(path.to_owned(), (now, error.to_string()));
    }

    /// The path works again.
    pub(crate) fn clear(&self, path: &str) {
        let mut inner = self.inner();
        if !inner.by_path.is_empty() {
            inner.by_path.remove(path);
        }
    }

    /// Forgets what failed before `since`: nobody tried again, so nobody knows.
    pub(crate) fn forget_before(&self, since: Duration) {
        let mut inner = self.inner();
        inner.by_path.retain(|_, (at, _)| *at >= since);
        if inner.by_path.is_empty() {
            inner.beyond = 0;
        }
    }

    pub(crate) fn reset(&self) {
        *self.inner() = Inner::default();
    }

    /// `(path, error)` in order of paths, and how many there are in all.
    pub(crate) fn list(&self) -> (Vec<(String, String)>, u64) {
        let inner = self.inner();
        let list: Vec<_> = inner.by_path.iter().map(|(path, (_, error))| (path.clone(), error.clone())).collect();
        let count = list.len() as u64 + inner.beyond;
        (list, count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner().by_path.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let failures = Failures::default();
        for index in 0..KEPT + 20 {
            failures.record(Duration::ZERO, &format!("/{index:04}"), &"broken");
        }
        let (list, count) = failures.list();
        assert_eq!((list.len(), count), (KEPT, KEPT as u64 + 20));
    }

    #[test]
    fn a_path_that_works_again_is_forgotten_and_an_old_one_too() {
        let failures = Failures::default();
        failures.record(Duration::from_secs(1), "/old", &"broken");
        failures.record(Duration::from_secs(5), "/new", &"broken");
        failures.record(Duration::from_secs(5), "/works", &"broken");
        failures.clear("/works");
        failures.forget_before(Duration::from_secs(2));
        assert_eq!(failures.list().0, [("/new".to_owned(), "broken".to_owned())]);
    }
}
