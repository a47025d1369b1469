//! Opens under way, so that one which the kernel sends again is not counted twice: it is closed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::passthrough::Way;

/// The bit by which the kernel marks the number of a request that it sends again.
const RESENT: u64 = 1 << 63;

/// A request, as the kernel numbers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unique(pub(crate) u64);

impl Unique {
    /// Its number, which it keeps however often it is sent.
    pub(crate) fn number(self) -> u64 {
        self.0 & !RESENT
    }

    /// Whether the kernel has sent it before, to this server or a former one.
    pub(crate) fn is_sent_again(self) -> bool {
        self.0 & RESENT != 0
    }
}

/// The opens under way in this process, by the number of their request. Bounded as the requests are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening {
    under_way: Arc<Mutex<HashMap<u64, Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    newest: u64,
    way: Arc<OnceLock<Way>>,
}

/// One attempt to answer an open.
#[derive(Debug)]
pub(crate) struct Attempt {
    all: Opening,
    request: u64,
    number: u64,
    way: Arc<OnceLock<Way>>,
}

impl Opening {
    /// Begins to answer a request, which may be under way already.
    pub(crate) fn begin(&self, request: Unique) -> Attempt {
        let request = request.number();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = under_way.entry(request).or_default();
        waiting.count += 1;
        waiting.newest += 1;
        Attempt { all: self.clone(), request, number: waiting.newest, way: Arc::clone(&waiting.way) }
    }
}

impl Attempt {
    /// How the open is answered: decided, and counted, by the first attempt that gets so far. The kernel takes whichever answer comes
    /// first, so all must be alike.
    pub(crate) fn way(&self, decide: impl FnOnce() -> Way) -> Way {
        *self.way.get_or_init(decide)
    }

    /// Whether another attempt has followed. Of all attempts at one open, which answer with the same handle, the kernel
    /// accepts one answer; so just one keeps what it opened, the last to begin.
    pub(crate) fn is_superseded(&self) -> bool {
        let under_way = self.all.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.get(&self.request).is_some_and(|waiting| waiting.newest != self.number)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut under_way = self.all.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = under_way.get_mut(&self.request) {
            waiting.count -= 1;
            if waiting.count == 0 {
                under_way.remove(&self.request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_attempts_at_one_open_the_last_keeps_it() {
        let all = Opening::default();
        let (first, other) = (all.begin(Unique(8)), all.begin(Unique(10)));
        assert!(!first.is_superseded());
        let (second, third) = (all.begin(Unique(8 | RESENT)), all.begin(Unique(8 | RESENT)));
        assert!(first.is_superseded() && second.is_superseded() && !third.is_superseded() && !other.is_superseded());
        assert_eq!(first.way(|| Way::Native(7)), Way::Native(7));
        assert_eq!((third.way(|| Way::Served), other.way(|| Way::Served)), (Way::Native(7), Way::Served));
        drop(third);
        assert!(first.is_superseded() && second.is_superseded());
        drop((first, second, other));
        assert!(all.under_way.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }
}
