use std::time::Duration;

use forebay_crds::Phase;

use crate::view::DatasetView;

/// What a Dataset is doing, as far as a person who waits for it cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing yet.
    Waiting,
    /// The first listing is under way: there is nothing to read before its end.
    Listing,
    /// Fetching ahead.
    Prefetching,
    /// All that was asked for is done.
    Ready,
    /// Served, with something amiss.
    Degraded,
    /// Not served.
    Failed,
}

impl Stage {
    pub(super) fn of(dataset: &DatasetView) -> Self {
        match dataset.status.phase {
            Phase::Pending if dataset.listing.is_some() => Self::Listing,
            Phase::Pending => Self::Waiting,
            Phase::Listing => Self::Listing,
            Phase::Prefetching => Self::Prefetching,
            Phase::Ready => Self::Ready,
            Phase::Degraded => Self::Degraded,
            Phase::Failed => Self::Failed,
        }
    }

    /// Whether a bar is worth its line on the terminal.
    pub(super) fn moves(self) -> bool {
        matches!(self, Self::Listing | Self::Prefetching)
    }
}

/// How fast a listing goes, from what is seen of it now and then.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ListingRate {
    /// Where the present stretch began: time and objects.
    from: Option<(Duration, u64)>,
    /// The stretch before it.
    before: Option<(Duration, u64)>,
}

/// A rate is that of the last one to two stretches of this length: steady, and yet it shows a stall.
const STRETCH: Duration = Duration::from_secs(3);

impl ListingRate {
    /// Notes that `seen` objects were seen at `now`, a time since any fixed moment. Objects a second; 0 before there
    /// is a second to tell.
    pub(super) fn sample(&mut self, now: Duration, seen: u64) -> u64 {
        let begin = match self.from {
            // A smaller number is another listing's.
            Some((_, before)) if seen < before => None,
            from => from,
        };
        let Some((since, _)) = begin else {
            *self = Self { from: Some((now, seen)), before: None };
            return 0;
        };
        if now.saturating_sub(since) >= STRETCH {
            (self.before, self.from) = (self.from, Some((now, seen)));
        }
        let Some((since, before)) = self.before.or(self.from) else { return 0 };
        let millis = now.saturating_sub(since).as_millis();
        if millis < 1000 {
            return 0;
        }
        u64::try_from(u128::from(seen.saturating_sub(before)) * 1000 / millis).unwrap_or(u64::MAX)
    }
}
