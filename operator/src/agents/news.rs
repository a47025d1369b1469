//! What the agents' words are news of.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stores::Change;

/// News since it was last taken, each once, the oldest first. Bounded by the objects that there are.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Change>,
    known: HashSet<Change>,
}

impl News {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, change: Change) {
        let mut waiting = self.waiting();
        if !waiting.known.contains(&change) {
            waiting.known.insert(change.clone());
            waiting.order.push_back(change);
        }
    }

    /// All but what is only progress of Datasets; of that, the oldest `most`. What is left out comes first the next time.
    pub(crate) fn take(&self, most: usize) -> Vec<Change> {
        let mut waiting = self.waiting();
        let mut progress = 0;
        let (taken, left): (Vec<Change>, Vec<Change>) = std::mem::take(&mut waiting.order).into_iter().partition(|change| {
            let counts = matches!(change, Change::Progress { .. });
            progress += usize::from(counts);
            !counts || progress <= most
        });
        waiting.order = left.into();
        for change in &taken {
            waiting.known.remove(change);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(name: &str) -> Change {
        Change::Progress { namespace: "ml".into(), name: name.into() }
    }

    #[test]
    fn progress_waits_for_its_turn_and_nothing_else_does() {
        let news = News::default();
        let health = Change::Health("r".into());
        for change in [progress("a"), progress("b"), progress("a"), progress("c"), health.clone()] {
            news.add(change);
        }
        assert_eq!(news.take(2), [progress("a"), progress("b"), health]);
        news.add(progress("a"));
        assert_eq!(news.take(1), [progress("c")], "what waited longer comes first");
        assert_eq!(news.take(9), [progress("a")]);
        assert_eq!(news.take(9), []);
    }
}
