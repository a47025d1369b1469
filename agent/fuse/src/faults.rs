//! Logs what readers are refused because of a store or a disk, without flooding the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_fs::FsError;

/// Lines a period.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// The place where a fault of a Dataset is logged: here it turns into a mere errno, and nobody after has the words.
#[derive(Debug)]
pub(crate) struct Faults {
    dataset: String,
    budget: Mutex<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    since: Option<Instant>,
    spent: u32,
    silent: u64,
}

impl Budget {
    /// Whether a line may be written at `now`, and how many were not before it.
    fn spend(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.spent = 0;
        }
        if self.spent == LINES {
            self.silent += 1;
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

impl Faults {
    pub(crate) fn new(dataset: String) -> Self {
        Self { dataset, budget: Mutex::default() }
    }

    /// Logs `error` if it is a fault, not a plain answer such as "no such file".
    pub(crate) fn note(&self, request: &'static str, ino: u64, error: &FsError) {
        let fault =
            matches!(error, FsError::Io { .. } | FsError::TimedOut { .. } | FsError::Stale { .. } | FsError::Denied { .. });
        if !fault {
            return;
        }
        let allowed = self.budget.lock().unwrap_or_else(PoisonError::into_inner).spend(Instant::now());
        if let Some(silent) = allowed {
            tracing::warn!(dataset = %self.dataset, request, ino, not_shown = silent, "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_counted_not_printed() {
        let mut budget = Budget::default();
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(budget.spend(start), Some(0));
        }
        assert_eq!(budget.spend(start), None);
        assert_eq!(budget.spend(start + PERIOD / 2), None);
        assert_eq!(budget.spend(start + PERIOD), Some(2));
        assert_eq!(budget.spend(start + PERIOD), Some(0));
    }
}
